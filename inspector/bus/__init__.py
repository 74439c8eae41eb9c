"""The event bus of a line: what goes on the wire, who says it, who hears it, and who may.

    publisher.py ── verdicts XPUB, maps XPUB, replay ROUTER ──▶ subscriber.py, gateways, anybody's ten lines
         wire.py      the messages            security.py      CURVE keys off loopback
         lock.py      one line runs once

What this package does not know: cameras, tiles' pixels, engines.
"""
