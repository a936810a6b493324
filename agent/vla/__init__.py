"""The vision-language-action policy, built on Qwen-VL. Its modules load torch: import them only where needed."""
