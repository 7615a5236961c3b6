"""Domain values: frozen structs without effects. Rates are bit/s, sizes octets, times aware datetimes unless named ``*_seconds``."""
