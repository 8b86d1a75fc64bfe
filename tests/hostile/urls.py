"""Addresses that a client must not follow from ``http://localhost:PORT/fhir/tenantA``, however they are read."""

from __future__ import annotations

_DOTS = (
    "..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "..%00", "..;", "..;a=b", "%2e%2e%3b", "..%2f", "..%5c",
    "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%u002e%u002e", "\u2025", "\uff0e\uff0e", "..\\", "..%255c", ".%00.", "..%09",
    "..%0d%0a", "..\t", ".\n.", "..\u200b", "..%20/..", "../.",
)  # fmt: skip
_CONTROLS = "\t\n\r \x00\x0b\x0c\x1f\x7f\xa0\u2028\u200b\ufeff\u00ad\u3000"
_SCHEMES = (
    "javascript:fetch('//{evil}')", "javascript://{evil}/%0aalert(1)", "data:text/html,//{evil}", "file:///etc/passwd",
    "file://{evil}/share", "ftp://{evil}/x", "gopher://{evil}/_x", "ws://{evil}/", "wss://{evil}/", "ldap://{evil}/",
    "dict://{evil}/", "jar:http://{evil}!/x",
    "view-source:http://{evil}/", "feed:http://{evil}/", "blob:http://{evil}/x",
    "urn:uuid:0", "urn:oid:1.2", "mailto:a@{evil}", "about:blank", "tel:1", "http+unix://%2fvar%2frun%2fdocker.sock/x",
    "unix:/var/run/docker.sock", "ssh://{evil}/", "smb://{evil}/", "sftp://{evil}/", "s3://{evil}/x", "//{evil}",
    "http:{evil}/fhir/tenantA", "http:/{evil}/fhir/tenantA", "http:///{evil}/fhir/tenantA",
    "http:////{evil}/fhir/tenantA", "http:\\\\{evil}\\fhir", "http:/\\{evil}/", "http:\\/{evil}/", "https:{evil}",
    "///{evil}/fhir/tenantA", "////{evil}/fhir/tenantA", "/\\{evil}/", "\\\\{evil}\\x", "\\/{evil}/x", "\\{evil}",
    "//{evil}/fhir/tenantA/Patient", "//{evil}\\@localhost:{port}/fhir/tenantA", ":http://{evil}/",
    "://{evil}/", "http:?//{evil}/", "http:#//{evil}/", "h\u0074tp\uff1a//{evil}/", "http:/{evil}", "ht%74p://{evil}/",
)  # fmt: skip
_USERS = (
    "http://localhost:{port}@{evil}/fhir/tenantA", "http://localhost@{evil}/fhir/tenantA",
    "http://user:word@localhost:{port}/fhir/tenantA", "http://@localhost:{port}/fhir/tenantA",
    "http://:@localhost:{port}/fhir/tenantA", "http://localhost:{port}%40{evil}/fhir/tenantA",
    "http://{evil}%40localhost:{port}/fhir/tenantA", "http://localhost:{port}\\@{evil}/fhir/tenantA",
    "http://{evil}\\@localhost:{port}/fhir/tenantA", "http://{evil}#@localhost:{port}/fhir/tenantA",
    "http://{evil}?@localhost:{port}/fhir/tenantA", "http://{evil};@localhost:{port}/fhir/tenantA",
    "http://localhost:{port}@@{evil}/fhir/tenantA", "http://a@b@{evil}/fhir/tenantA",
    "http://localhost:{port}&@{evil}/fhir/tenantA",
    "http://localhost\\:{port}@{evil}/", "http://{evil}/localhost:{port}",
    "http://{evil}?http://localhost:{port}/fhir/tenantA", "http://{evil}#http://localhost:{port}/fhir/tenantA",
    "http://{evil}/fhir/tenantA/../../http://localhost:{port}/fhir/tenantA",
)  # fmt: skip
_HOSTS = (
    "{evil}", "[::1]:{port}", "127.0.0.1:{port}", "127.0.0.2:{port}", "evil.example:{port}", "evil.example",
    "localhost", "localhost.:{port}", "localhost.evil.example:{port}", "localhostevil.example:{port}",
    "evil-localhost:{port}", "x.localhost:{port}", "localhost..:{port}", ".localhost:{port}", "localhost%2e:{port}",
    "localhost%00.evil.example:{port}", "localhost%00:{port}", "local%68ost:{port}", "%6cocalhost:{port}",
    "127.1:{port}", "127.0.1:{port}", "0x7f.0.0.1:{port}", "0x7f000001:{port}", "0177.0.0.1:{port}",
    "017700000001:{port}", "2130706433:{port}", "127.0.0.01:{port}", "127.0.0.1.:{port}", "0:{port}", "0.0.0.0:{port}",
    "[::]:{port}", "[::ffff:127.0.0.1]:{port}", "[::ffff:7f00:1]:{port}", "[0:0:0:0:0:ffff:7f00:1]:{port}",
    "[::127.0.0.1]:{port}", "[0:0:0:0:0:0:0:1]:{port}", "[::1%25lo]:{port}", "[::1", "::1:{port}", "[localhost]:{port}",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}", "loca\u217choſt:{port}", "localho\u017ft:{port}",
    "l\u043ecalhost:{port}", "xn--lcalhost-1bg:{port}", "localhos\u1e97:{port}", "local\u00adhost:{port}",
    "local\u200bhost:{port}", "localhost\u3002evil.example:{port}", "localhost\uff0eevil.example:{port}",
    "127\u30020\u30020\u30021:{port}", "\u2460\u2461\u2466.0.0.1:{port}", "localhost\uff0fevil.example:{port}",
    "localhost\u2044evil.example:{port}", "localhost\uff1a{port}", "localhost:{port}.evil.example", "localhost:{port}0",
    "localhost:+{port}x", "localhost:-{port}", "localhost:80", "localhost:0", "localhost:65536",
    "localhost:{port},evil", "localhost:\uff11\uff12", "localhost:0x{port}",
    "169.254.169.254", "[fd00:ec2::254]", "2852039166",
    "metadata.google.internal", "[fe80::1]", "169.254.170.2", "100.100.100.200", "10.0.0.1", "192.168.0.1:{port}",
)  # fmt: skip
_SIBLINGS = (
    "/fhir/tenantAB/Patient", "/fhir/tenantA.evil/Patient", "/fhir/tenantA-b", "/fhir/tenantA;x/Patient",
    "/fhir/tenantA;/../tenantB", "/fhir/TENANTA/Patient", "/FHIR/tenantA/Patient", "/fhir/tenanta/Patient",
    "/fhir/tenant", "/fhir/", "/fhir", "/", "/fhir//tenantA/Patient", "//fhir/tenantA/Patient",
    "/fhir/%74enantA/Patient", "/fhir/tenantA%2fPatient", "/fhir/tenantA%00",
    "/fhir/tenantA%20", "/fhir/tenantA%3bx", "/fhir/tenantA%23/..",
    "/./fhir/tenantA/Patient", "/fhir/./tenantA/Patient", "/fhir/tenantB/../tenantA/Patient", "/fhir/tenantA\\Patient",
    "/fhir/tenantA\u2215Patient", "/fhir/tenant\u0410/Patient", "/fhir/tenantA%E2%88%95..%2f", "/%2ffhir/tenantA",
    "http://localhost:{port}", "http://localhost:{port}/", "http://localhost:{port}/fhir/tenantAB",
    "http://localhost:{port}/fhir", "HTTP://LOCALHOST:{port}/fhir/tenantB", "//localhost:{port}/fhir/tenantB",
)  # fmt: skip


def hostile(port: int, evil: str) -> list[str]:
    """The addresses, for a base at ``localhost:port`` and a stranger who listens at ``evil`` (host and port)."""
    found = [f"{scheme}://{host}/fhir/tenantA/Patient" for scheme in ("http", "HTTPS") for host in _HOSTS]
    found += ["https://localhost:{port}/fhir/tenantA/Patient", *_SCHEMES, *_USERS, *_SIBLINGS]
    for odd in _CONTROLS:
        found += [
            f"{odd}http://{{evil}}/fhir/tenantA", f"http:{odd}//{{evil}}/fhir/tenantA", f"http://{odd}{{evil}}/",
            f"/{odd}/{{evil}}/fhir/tenantA", f"http://localhost:{{port}}{odd}@{{evil}}/fhir/tenantA",
            f"http://localhost:{{port}}{odd}.evil.example/fhir/tenantA",
        ]  # fmt: skip
    for dots in _DOTS:
        found += [
            f"{dots}/tenantB/Patient", f"/fhir/tenantA/{dots}/tenantB/Patient",
            f"http://localhost:{{port}}/fhir/tenantA/{dots}/tenantB", f"x/{dots}/{dots}/{dots}/admin",
        ]  # fmt: skip
    return list(dict.fromkeys(one.replace("{port}", str(port)).replace("{evil}", evil) for one in found))
