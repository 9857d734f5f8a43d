"""Letting the stock client of PAI (the package `alipai`) talk to a server of one's own."""
