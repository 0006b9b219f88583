"""Apicurio Registry on this machine: installed by Maven, run on Java 17, its content on disk."""

from infra.servers.apicurio.install import APICURIO_VERSION, install_apicurio
from infra.servers.apicurio.server import ApicurioServer, url_of

__all__ = ["APICURIO_VERSION", "ApicurioServer", "install_apicurio", "url_of"]
