"""`python -m app.token [--sub UUID] [--hours N]`: a development token on standard output."""

import argparse
import sys
import time
from uuid import UUID, uuid5

import jwt

from app.instance import open_instance
from app.settings import Settings, SettingsError
from services.auth import AUDIENCE, SHARED_SECRET_ALGORITHM

DEVELOPER = uuid5(UUID(int=0), "developer")
"""Who asks where nobody else is named: the same user each time, so that one finds one's own."""
HOUR_SECONDS = 3600
DEFAULT_HOURS = 12.0
DEFAULT_SECONDS = DEFAULT_HOURS * HOUR_SECONDS


def make_token(secret: str, user_id: UUID, seconds: float, issuer: str | None = None) -> str:
    """Sign a token such as Supabase gives to a signed-in user."""
    now = int(time.time())
    claims = {
        "sub": str(user_id),
        "aud": AUDIENCE,
        "role": AUDIENCE,
        "email": f"{str(user_id)[:8]}@localhost",
        "iat": now,
        "exp": now + int(seconds),
    }
    if issuer is not None:
        claims["iss"] = issuer
    return jwt.encode(claims, secret, algorithm=SHARED_SECRET_ALGORITHM)


def development_token(settings: Settings, user_id: UUID, seconds: float) -> str:
    """Sign a token that this instance's API takes. Raises `SettingsError` where it takes none."""
    secret = open_instance(settings).jwt_secret
    if secret is None:
        raise SettingsError("No SUPABASE_JWT_SECRET to sign with: sign in at SUPABASE_URL")
    return make_token(secret, user_id, seconds, settings.token_issuer)


def main() -> int:
    """Print the token and nothing else."""
    parser = argparse.ArgumentParser(prog="python -m app.token", description=__doc__)
    parser.add_argument("--sub", type=UUID, default=DEVELOPER, help="the user's id")
    parser.add_argument("--hours", type=float, default=DEFAULT_HOURS, help="how long it is good")
    arguments = parser.parse_args()
    try:
        seconds = arguments.hours * HOUR_SECONDS
        token = development_token(Settings.read(), arguments.sub, seconds)
    except SettingsError as error:
        sys.stderr.write(f"{error}.\n")
        return 1
    sys.stdout.write(f"{token}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
