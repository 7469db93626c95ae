"""The asv suite: quantize, pack, startup, dispatch. See asv.conf.json."""
