"""The devices' peers: net-snmp's agent, OpenSSH's server."""

from tests.device.conftest import sshd as sshd
from tests.device.test_snmp import snmpd as snmpd
