"""Networks: light configurations that build torch modules. They know nothing of schedules."""
