"""The file formats of PyTorch: .pt, .safetensors, and directories of torch.distributed.checkpoint."""
