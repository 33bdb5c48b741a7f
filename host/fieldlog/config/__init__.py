"""The configuration of devices: files that people review, and what the devices hold.

Rule: a file is checked whole, and compared with what the device has, before anything is written.
"""
