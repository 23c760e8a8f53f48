"""The mathematics: schedules, parameterizations, denoisers, SDEs, the training objective."""
