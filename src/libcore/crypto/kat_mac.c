/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of the known-answer tests: hashes and MACs. */

#include "libcore/crypto/kat.h"

const struct kat_hash kat_hashes[] = {
    /* FIPS 180-4, RFC 1321 */
    {CY_HASH_MD5, "", "d41d8cd98f00b204e9800998ecf8427e"},
    {CY_HASH_MD5, "616263", "900150983cd24fb0d6963f7d28e17f72"},
    {CY_HASH_MD5,
        "6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e"
        "6c6d6e6f6d6e6f706e6f7071",
        "8215ef0796a20bcaaae116d3876c664a"},
    {CY_HASH_SHA1, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {CY_HASH_SHA1, "616263", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {CY_HASH_SHA1,
        "6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e"
        "6c6d6e6f6d6e6f706e6f7071",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    {CY_HASH_SHA2_256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {CY_HASH_SHA2_256, "616263", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {CY_HASH_SHA2_256,
        "6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e"
        "6c6d6e6f6d6e6f706e6f7071",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {CY_HASH_SHA2_384, "",
        "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f1"
        "4898b95b"},
    {CY_HASH_SHA2_384, "616263",
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca1"
        "34c825a7"},
    {CY_HASH_SHA2_384,
        "6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e"
        "6c6d6e6f6d6e6f706e6f7071",
        "3391fdddfc8dc7393707a65b1b4709397cf8b1d162af05abfe8f450de5f36bc6b0455a8520bc4e6f5fe95b1f"
        "e3c8452b"},
    {CY_HASH_SHA2_512, "",
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2"
        "877eec2f63b931bd47417a81a538327af927da3e"},
    {CY_HASH_SHA2_512, "616263",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23"
        "a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {CY_HASH_SHA2_512,
        "6162636462636465636465666465666765666768666768696768696a68696a6b696a6b6c6a6b6c6d6b6c6d6e"
        "6c6d6e6f6d6e6f706e6f7071",
        "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c33596fd15c13b1b07f9aa1d3bea"
        "57789ca031ad85c7a71dd70354ec631238ca3445"},
    {0, NULL, NULL},
};

const struct kat_mac kat_macs[] = {
    /* RFC 2202 and RFC 4231, test cases 1, 2 and 6 */
    {CY_MAC_HMAC_MD5, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
        "9294727a3638bb1c13f48ef8158bfc9d"},
    {CY_MAC_HMAC_MD5, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "750c783e6ab0b503eaa86e310a5db738"},
    {CY_MAC_HMAC_MD5,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368"
        "204b6579204669727374",
        "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"},
    {CY_MAC_HMAC_SHA1, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
        "b617318655057264e28bc0b6fb378c8ef146be00"},
    {CY_MAC_HMAC_SHA1, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    {CY_MAC_HMAC_SHA1,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368"
        "204b6579204669727374",
        "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
    {CY_MAC_HMAC_SHA2_256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {CY_MAC_HMAC_SHA2_256, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {CY_MAC_HMAC_SHA2_256,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368"
        "204b6579204669727374",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    {CY_MAC_HMAC_SHA2_384, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8"
        "b2fa9cb6"},
    {CY_MAC_HMAC_SHA2_384, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ec"
        "fab21649"},
    {CY_MAC_HMAC_SHA2_384,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368"
        "204b6579204669727374",
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df1"
        "63f44952"},
    {CY_MAC_HMAC_SHA2_512, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274e"
        "aea3f4e4be9d914eeb61f1702e696c203a126854"},
    {CY_MAC_HMAC_SHA2_512, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65"
        "f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
    {CY_MAC_HMAC_SHA2_512,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368"
        "204b6579204669727374",
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd221"
        "5d6a1e5295e64f73f63f0aec8b915a985d786598"},
    /* RFC 3566, 4 */
    {CY_MAC_AES_XCBC, "000102030405060708090a0b0c0d0e0f", "", "75f0251d528ac01c4573dfd584d79f29"},
    {CY_MAC_AES_XCBC, "000102030405060708090a0b0c0d0e0f", "000102", "5b376580ae2f19afe7219ceef172756f"},
    {CY_MAC_AES_XCBC, "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f",
        "d2a246fa349b68a79998a4394ff7a263"},
    {CY_MAC_AES_XCBC, "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f10111213",
        "47f51b4564966215b8985c63055ed308"},
    {CY_MAC_AES_XCBC, "000102030405060708090a0b0c0d0e0f",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "f54f0ec8d2b9f3d36807734bd5283fd4"},
    {CY_MAC_AES_XCBC, "000102030405060708090a0b0c0d0e0f",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021",
        "becbb3bccdb518a30677d5481fb6b4d8"},
    /* RFC 4493, 4 */
    {CY_MAC_AES_CMAC, "2b7e151628aed2a6abf7158809cf4f3c", "", "bb1d6929e95937287fa37d129b756746"},
    {CY_MAC_AES_CMAC, "2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a",
        "070a16b46b4d4144f79bdd9dd04a287c"},
    {CY_MAC_AES_CMAC, "2b7e151628aed2a6abf7158809cf4f3c",
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
        "dfa66747de9ae63030ca32611497c827"},
    {CY_MAC_AES_CMAC, "2b7e151628aed2a6abf7158809cf4f3c",
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc119"
        "1a0a52eff69f2445df4f9b17ad2b417be66c3710",
        "51f0bebf7e3b9d92fc49741779363cfe"},
    {0, NULL, NULL, NULL},
};
