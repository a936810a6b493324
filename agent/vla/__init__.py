"""The vision-language-action policy, built on Qwen-VL. Its modules load torch: import them only where needed."""

from vlatency.agent.vla.torchvision_pair import declare_when_imported

# Before any module here imports transformers.
declare_when_imported()
