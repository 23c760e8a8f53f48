"""Problems with exact answers, tried on this installation."""
