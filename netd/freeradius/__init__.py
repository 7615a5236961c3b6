"""Moving in from another RADIUS server: FreeRADIUS's SQL tables as netd's plans, NAS and subscribers, and a comparison of two servers' answers.

``source`` reads the tables, ``pairs`` and ``authorize`` do with them what rlm_sql of FreeRADIUS 3.2 does, ``translate`` says the outcome in netd's terms;
``shadow`` asks two servers the same. Nothing here knows the daemon: the commands send what comes out through its API.
"""
