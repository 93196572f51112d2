"""What a binding needs: an adapter for a framework that owns its loop."""

from .options import RunOptions, check_options, continues, options_of_next
from .run_driver import RunDriver

__all__ = ["RunDriver", "RunOptions", "check_options", "continues", "options_of_next"]
