"""The programs that run module-style steps. An interpreter starts them; flowd never imports them."""
