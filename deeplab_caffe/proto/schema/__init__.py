"""Caffe's messages: tables of fields and enums, and the message classes made of them."""
