"""The vision-language-action policy on Qwen2.5-VL. Import its modules where used: they load torch."""
