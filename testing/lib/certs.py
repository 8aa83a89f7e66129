# SPDX-License-Identifier: Apache-2.0
"""Certificates, made with openssl when a test needs them."""
import os
import time

from .proc import run

KEYS = {
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa4096": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
    "ecdsa": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ecdsa384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ecdsa521": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    "ed25519": ["-algorithm", "ED25519"],
    "ed448": ["-algorithm", "ED448"],
}


class Cert:
    """A certificate with its key, and with the authorities above it, nearest first."""

    def __init__(self, name, kind, path, key, issuers):
        self.name = name
        self.kind = kind
        self.path = path
        self.key = key
        self.issuers = issuers

    @property
    def root(self):
        return self.issuers[-1] if self.issuers else self

    @property
    def intermediates(self):
        return self.issuers[:-1]


class Pki:
    """A directory of authorities and certificates."""

    def __init__(self, directory):
        self.directory = directory
        self.serial = 100
        os.makedirs(directory, exist_ok=True)

    def ca(self, name, kind="ecdsa", parent=None, bulk=0):
        """An authority, self-signed or (with parent) an intermediate."""
        return self._issue(name, kind, parent, ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"],
                           bulk, days=30)

    def leaf(self, name, parent, kind="ecdsa", bulk=0, days=20, more=()):
        """A gateway's certificate; `name` becomes CN and subjectAltName. `more` are further extensions."""
        return self._issue(name, kind, parent, ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature",
                                                f"subjectAltName=DNS:{name}", *more], bulk, days)

    def index(self, ca, issued, revoked=()):
        """What `openssl ca` and `openssl ocsp` know of an authority's certificates: a file."""
        when = time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() - 60))
        path = os.path.join(self.directory, f"{ca.name}.index")
        with open(path, "w") as f:
            for cert in issued:
                serial = run(["openssl", "x509", "-in", cert.path, "-noout", "-serial"]).strip().split("=")[1]
                state = ("R", f"{when},keyCompromise") if cert in revoked else ("V", "")
                f.write(f"{state[0]}\t491231235959Z\t{state[1]}\t{serial}\tunknown\t/CN={cert.name}\n")
        return path

    def crl(self, ca, issued, revoked=(), path=None):
        """The list of what an authority has revoked, as DER."""
        index, base = self.index(ca, issued, revoked), os.path.join(self.directory, ca.name)
        self.serial += 1
        with open(base + ".crlnumber", "w") as f:
            f.write(f"{self.serial:04x}\n")
        with open(base + ".conf", "w") as f:
            f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={index}\ncrlnumber={base}.crlnumber\ndefault_md=sha256\n")
        run(["openssl", "ca", "-gencrl", "-config", base + ".conf", "-cert", ca.path, "-keyfile", ca.key, "-crldays", "1",
             "-out", base + ".crl.pem"])
        run(["openssl", "crl", "-in", base + ".crl.pem", "-outform", "DER", "-out", base + ".crl"])
        os.replace(base + ".crl", path or base + ".crl")
        return path or base + ".crl"

    def _issue(self, name, kind, parent, extensions, bulk, days):
        """`bulk` bytes of comment make a certificate as large as a test wants it."""
        base = os.path.join(self.directory, name)
        key, csr, ext, path = (base + end for end in (".key.pem", ".csr", ".ext", ".pem"))
        run(["openssl", "genpkey", *KEYS[kind], "-out", key])
        os.chmod(key, 0o600)
        subject = f"/O=cygnet test/CN={name}"
        run(["openssl", "req", "-new", "-key", key, "-subj", subject, "-out", csr])
        lines = [*extensions, "subjectKeyIdentifier=hash"]
        if parent:
            lines.append("authorityKeyIdentifier=keyid")
        if bulk:
            lines.append("nsComment=" + "x" * bulk)
        with open(ext, "w") as f:
            f.write("\n".join(lines) + "\n")
        self.serial += 1
        sign = ["-CA", parent.path, "-CAkey", parent.key] if parent else ["-signkey", key]
        run(["openssl", "x509", "-req", "-in", csr, *sign, "-set_serial", str(self.serial), "-days", str(days),
             "-extfile", ext, "-out", path])
        return Cert(name, kind, path, key, [parent, *parent.issuers] if parent else [])
