"""The provider that ``netd demo`` plays: data. Every name, note and description says that it is simulated."""

from typing import Final, Literal

import msgspec

from netd.demo.configurations import BNG1, BNG2, olt
from netd.simulate import Port, Rates

TAG: Final = "simulated"
NOTE: Final = "simulated by netd demo: it does not exist"
ORGANIZATION, SITE = "simulated", "simulated-town"
USERNAME, PASSWORD, COMMUNITY = "netd", "simulated", "simulated"
"""What the devices' consoles and agents are opened with. They are on loopback only, and there is nothing behind them."""

M: Final = 1_000_000
G: Final = 1_000_000_000

Side = Literal["core", "customers"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What subscribers buy; ``daily_octets`` is a quota after which the rates are those of ``lowered``."""

    name: str
    rates: Rates
    daily_octets: int | None = None
    lowered: Rates | None = None


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody behind an ONU, who dials by PPPoE at a router. ``mean`` is what is wanted, whatever the plan."""

    username: str
    full_name: str
    plan: str
    router: str
    pon: int
    onu: int
    mean: Rates
    chap: bool
    distance_metres: int

    @property
    def password(self) -> str:
        """Nobody can log in with it but the simulated NAS."""
        return f"simulated-{self.username.partition('@')[0]}"

    @property
    def mac(self) -> str:
        """Of the subscriber's router: locally administered."""
        return f"02:00:5e:00:{self.pon:02x}:{self.onu:02x}"

    @property
    def port(self) -> str:
        """The PON port, as the OLT names it."""
        return f"0/1/{self.pon}"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A device's interface, and whose traffic goes through it: that of a router's subscribers, or of a PON's, or nobody's."""

    port: Port
    side: Side = "core"
    routers: tuple[str, ...] = ()
    pon: int | None = None

    def carries(self, subscriber: Subscriber) -> bool:
        """Whether this subscriber's traffic goes through."""
        return subscriber.router in self.routers and self.pon in {None, subscriber.pon}


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated device. ``access`` is whether subscribers dial there; ``parent`` what it is reached through."""

    name: str
    address: str
    vendor: str
    platform: str
    version: str
    facts: dict[str, str]
    configuration: str
    links: tuple[Link, ...]
    access: bool = False
    parent: str | None = None
    poll_groups: tuple[str, ...] = ()


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    plans: tuple[Plan, ...]
    subscribers: tuple[Subscriber, ...]
    machines: tuple[Machine, ...]


PLANS: Final = (
    Plan(name="simulated-home-50", rates=Rates(50 * M, 10 * M), daily_octets=1_500 * M, lowered=Rates(4 * M, 1 * M)),
    Plan(name="simulated-home-250", rates=Rates(250 * M, 50 * M)),
    Plan(name="simulated-business-500", rates=Rates(500 * M, 250 * M)),
)

_PEOPLE: Final = (
    # given name, plan, mean wish down and up in Mbit/s
    ("anna", 0, 18, 2), ("ben", 0, 60, 8), ("carla", 1, 45, 6), ("david", 1, 12, 1), ("ella", 0, 6, 1), ("felix", 2, 120, 60), ("greta", 1, 80, 9),
    ("henry", 0, 3, 1), ("ida", 0, 22, 3), ("jonas", 1, 30, 12), ("karin", 2, 210, 90), ("leo", 0, 9, 2), ("mara", 1, 110, 15), ("nils", 0, 14, 2),
    ("olga", 1, 25, 3), ("paul", 0, 5, 1),
)  # fmt: skip
ROUTERS: Final = ("sim-bng1", "sim-bng2")
OLT: Final = "sim-olt1"
PONS: Final = 2
WEAK: Final = "nils@simulated.example"
"""Whose light fades and comes back."""


def _subscriber(place: int) -> Subscriber:
    name, plan, down, up = _PEOPLE[place]
    return Subscriber(
        username=f"{name}@simulated.example", full_name=f"{name.capitalize()} (simulated)", plan=PLANS[plan].name, router=ROUTERS[place % 2],
        pon=place // 2 % PONS, onu=place // 4 * 2 + place % 2, mean=Rates(down * M, up * M), chap=place % 3 == 1, distance_metres=300 + 170 * place,
    )  # fmt: skip


SUBSCRIBERS: Final = tuple(_subscriber(place) for place in range(len(_PEOPLE)))


def gpon_index(pon: int) -> int:
    """The ifIndex of a SmartAX's GPON port 0/1/``pon``."""
    return 125 << 25 | 1 << 13 | pon << 8


def _machines() -> tuple[Machine, ...]:
    first, second = ROUTERS
    return (
        Machine(
            name=first, address="127.83.0.1", vendor="mikrotik", platform="mikrotik_routeros", version="7.16.2", access=True, configuration=BNG1,
            facts={"model": "CCR2116-12G-4S+ (simulated)", "board": "CCR2116-12G-4S+ (simulated)", "serial": "SIMULATED01"},
            links=(
                Link(port=Port(index=1, name="ether1", alias="simulated uplink", mac="02:00:5e:83:00:01"), routers=(first,)),
                Link(port=Port(index=2, name="ether2", alias=f"simulated, to {OLT}", mac="02:00:5e:83:00:02"), side="customers", routers=(first,)),
                Link(port=Port(index=3, name="ether3", alias="simulated spare", mac="02:00:5e:83:00:03", enabled=False)),
            ),
        ),
        Machine(
            name=second, address="127.83.0.2", vendor="huawei", platform="huawei_vrp", version="V800R011C00SPC200", access=True, configuration=BNG2,
            facts={"model": "NE40E (simulated)", "esn": "SIMULATED0000000002"},
            links=(
                Link(port=Port(index=6, name="GigabitEthernet0/1/0", alias="simulated uplink", speed_bps=10 * G), routers=(second,)),
                Link(port=Port(index=7, name="GigabitEthernet0/1/1", alias=f"simulated, to {OLT}", speed_bps=10 * G), side="customers", routers=(second,)),
                Link(port=Port(index=9, name="GigabitEthernet0/1/3", alias="simulated spare", enabled=False)),
            ),
        ),
        Machine(
            name=OLT, address="127.83.0.3", vendor="huawei", platform="huawei_smartax", version="MA5600V800R018C10", parent=first,
            configuration=olt(SITE, [(each.pon, each.onu, each.username) for each in SUBSCRIBERS]), facts={"product": "MA5608T(simulated)", "patch": "SPH227"},
            poll_groups=("optics",),
            links=(
                *(
                    Link(port=Port(index=234_881_024 + place * 64, name=f"ethernet0/2/{place}", alias=f"simulated, to {router}"), routers=(router,))
                    for place, router in enumerate(ROUTERS)
                ),
                *(
                    Link(
                        port=Port(index=gpon_index(pon), name=f"GPON 0/1/{pon}", descr="Huawei-MA5600-V800R018-GPON_UNI", type=250, speed_bps=2_488 * M),
                        side="customers", routers=ROUTERS, pon=pon,
                    )
                    for pon in range(PONS)
                ),
            ),
        ),
    )  # fmt: skip


SCENARIO: Final = Scenario(plans=PLANS, subscribers=SUBSCRIBERS, machines=_machines())
