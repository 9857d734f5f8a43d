"""What is shown: functions from the types between the rooms to Rich renderables. They compute nothing."""
