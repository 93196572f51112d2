"""The file formats of PyTorch subjects: .pt, .safetensors, and directories of torch.distributed.checkpoint."""
