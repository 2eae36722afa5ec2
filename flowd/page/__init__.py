"""The web page at ``/ui/``: what the API tells, for people's eyes, and what it can be asked, for their hands.

Pages are made on the server and whole without a script. They get what they show from the methods that everybody calls.
Nothing here decides or remembers anything but who is logged in.
"""
