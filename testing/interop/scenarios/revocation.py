# SPDX-License-Identifier: Apache-2.0
"""Certificates that were revoked: a CRL server, an OCSP responder, and neither of them."""
import os
import shutil

from interop.registry import scenario
from interop.scenarios.auth import refused_again, tunnel
from lib.proc import Background, require, wait_for

CRL_PORT, OCSP_PORT = 8080, 8081
CRL_URL, OCSP_URL = f"http://127.0.0.1:{CRL_PORT}/root.crl", f"http://127.0.0.1:{OCSP_PORT}/"


def ours(initiator, responder, backend):
    return initiator == responder == "cygnet" and backend == "userspace"


class Authority:
    """A root with certificates that name its servers. These are in the namespace of the left gateway, which asks them."""

    def __init__(self, bed, conn, *extensions):
        self.bed = bed
        self.root = bed.pki.ca("root")
        for end in (conn.left, conn.right):
            end.auth, end.cert = "pubkey", bed.pki.leaf(end.id, self.root, more=extensions)
        self.issued = [conn.left.cert, conn.right.cert]
        self.web = os.path.join(bed.dir, "web")
        os.makedirs(self.web)
        self.process = None

    def publish(self, *revoked):
        self.bed.pki.crl(self.root, self.issued, revoked, os.path.join(self.web, "root.crl"))

    def serve(self):
        self.process = Background(self.bed.site.left.argv("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                                                          self.web, str(CRL_PORT)), os.path.join(self.bed.dir, "web.log"))
        self.wait(CRL_PORT)

    def respond(self, *revoked):
        index = self.bed.pki.index(self.root, self.issued, revoked)
        self.process = Background(self.bed.site.left.argv(
            "openssl", "ocsp", "-index", index, "-port", str(OCSP_PORT), "-rsigner", self.root.path, "-rkey", self.root.key,
            "-CA", self.root.path, "-nmin", "10"), os.path.join(self.bed.dir, "ocsp.log"))
        self.wait(OCSP_PORT)

    def wait(self, port):
        def there():
            require(self.process.alive(), f"the server ended: {self.process.output()[-300:]}")
            return f":{port} " in self.bed.site.left.run("ss", "-Htln")
        wait_for(there, f"a server on port {port}")

    def away(self):
        self.process.kill()


def again(bed):
    """The tunnel once more, with everything forgotten."""
    bed.left.ipsec("purgecrls")
    bed.left.up()
    bed.wait_up()
    bed.traffic(transfer_size=0)
    bed.left.down()
    bed.wait_gone()


@scenario(ours)
def crl(bed):
    """CRLs: good, revoked, the server away (accepted, then with strictcrlpolicy=yes refused), back"""
    conn = bed.conn()
    ca = Authority(bed, conn, f"crlDistributionPoints=URI:{CRL_URL}")
    ca.publish()
    ca.serve()
    tunnel(bed, conn)
    listed = bed.left.query("listcrls")["crls"]
    require([(x["url"], x["loaded"], x["revoked"]) for x in listed] == [(CRL_URL, True, 0)], f"listcrls: {listed}")
    require(f"CRL {CRL_URL}" in bed.left.ipsec("listcrls"), "listcrls does not name the CRL")
    bed.left.down()
    bed.wait_gone()
    ca.publish(conn.right.cert)
    bed.left.ipsec("purgecrls")
    refused_again(bed, "was revoked on", "key compromise, says the crl http://127.0.0.1")
    ca.away()
    again(bed)
    require("was revoked is not known" in bed.left.log_text(), "the log does not say that nothing is known")
    bed.left.setup = "\tstrictcrlpolicy=yes\n"
    bed.left.configure()
    refused_again(bed, "was revoked is not known: crl http://127.0.0.1")
    ca.publish()
    ca.serve()
    bed.left.ipsec("reload")
    again(bed)
    ca.away()


@scenario(ours)
def crl_file(bed):
    """CRLs of files count as they are, and a reload reads them again"""
    conn = bed.conn()
    ca = Authority(bed, conn)
    ca.publish()
    bed.start(conn)
    folder = bed.left.path("ipsec.d/crls")
    os.makedirs(folder)
    os.mkfifo(os.path.join(folder, "fifo"))   # nobody waits for a writer of it
    bed.left.setup = "\tstrictcrlpolicy=yes\n"
    bed.left.configure()
    refused_again(bed, "no file has a crl of its issuer")
    shutil.copyfile(os.path.join(ca.web, "root.crl"), os.path.join(folder, "root.crl"))
    bed.left.ipsec("reload")
    again(bed)
    ca.publish(conn.right.cert)
    shutil.copyfile(os.path.join(ca.web, "root.crl"), os.path.join(folder, "root.crl"))
    bed.left.ipsec("reload")
    refused_again(bed, "says the crl of a file")


@scenario(ours)
def ocsp(bed):
    """an OCSP responder says good, then revoked; away, the tunnel comes up all the same"""
    conn = bed.conn()
    ca = Authority(bed, conn, f"authorityInfoAccess=OCSP;URI:{OCSP_URL}")
    ca.respond()
    tunnel(bed, conn)
    bed.left.down()
    bed.wait_gone()
    listed = bed.left.query("listcrls")["crls"]
    require([(x["url"], x.get("status")) for x in listed] == [(OCSP_URL, "good")], f"listcrls: {listed}")
    ca.away()
    ca.respond(conn.right.cert)
    bed.left.ipsec("purgecrls")
    refused_again(bed, "says the ocsp responder http://127.0.0.1")
    ca.away()
    again(bed)
