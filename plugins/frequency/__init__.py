"""How often a callback acts: what an option such as "500 steps" means, and when it is due."""

from .frequency import EVERY_EPOCH, Frequency, check_frequency, frequency_text
from .schedule import SavedSchedule, Schedule

__all__ = ["EVERY_EPOCH", "Frequency", "SavedSchedule", "Schedule", "check_frequency", "frequency_text"]
