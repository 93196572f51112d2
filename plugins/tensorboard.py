"""temporary"""

from pydantic import Field

from trainbus import Callback


class TensorBoard(Callback):
    log_dir: str = Field("./logs", kw_only=False)
