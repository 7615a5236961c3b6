"""The outcome of an access decision, and why."""

from enum import StrEnum


class Reason(StrEnum):
    """Why an Access-Request was answered as it was; stands in radpostauth.reason, metrics and ``netd subscriber explain``."""

    OK = "ok"
    WALLED = "walled"  # accepted into the walled garden: a lock with mode walled is on, or a quota is used up
    UNKNOWN_USER = "unknown_user"
    WRONG_PASSWORD = "wrong_password"
    NO_PASSWORD_SET = "no_password_set"  # the subscriber has no password, so none can be right
    HASHED_PASSWORD = "hashed_password"  # only a hash is known, against which this method (CHAP; MS-CHAP unless NT) cannot be checked
    MALFORMED_CREDENTIALS = "malformed_credentials"  # a password, response or challenge of a length that cannot be
    NO_CREDENTIALS = "no_credentials"  # the request carries nothing to check
    UNSUPPORTED_METHOD = "unsupported_method"  # EAP and others that netd does not speak
    PENDING = "pending"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"
    EXPIRED = "expired"
    LOCKED = "locked"  # a lock with mode reject is on
    OUTSIDE_HOURS = "outside_hours"  # of the access hours of subscriber or plan
    WRONG_LINE = "wrong_line"  # the subscriber is bound to lines, and this is none of them
    QUOTA = "quota"  # a quota of the plan is used up, and its stage says block
    CHECK_FAILED = "check_failed"  # a radcheck attribute does not match
    SESSION_LIMIT = "session_limit"
    NO_ADDRESS = "no_address"  # a pool is exhausted, or a first lease cannot be made while the database is away
    RATE_LIMITED = "rate_limited"  # too many failures of this user or source lately
    POLICY = "policy"  # a plugin said no
    NOT_GRANTABLE = "not_grantable"  # the plan cannot be expressed for this NAS (driver missing or refused)
