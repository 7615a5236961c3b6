"""``netd demo``: a small provider that is not there. The daemon is the real one; devices, subscribers and their traffic are simulated, over real sockets.

``scenario`` says who and what there is, ``traffic`` how much they want; both are data and arithmetic. ``nas`` plays a router's RADIUS side, sans-IO;
``devices`` has the simulated devices and gives their agents what the subscribers use. ``setup`` makes it all known to netd, by its control API, as an
operator would. ``stage`` lets it run.
"""
