/* SPDX-License-Identifier: Apache-2.0 */
/* Distinguished names as OpenSSL 3.0 encodes them (openssl req -subj), in hexadecimal. */
/* C=DE, O=Org, CN=moon */
#define DN_MOON                                                                                              \
	"302a310b3009060355040613024445310c300a060355040a0c034f7267310d300b06035504030c04"                   \
	"6d6f6f6e"
/* C=DE, O=Org, CN=* */
#define DN_ANY_CN                                                                                            \
	"3027310b3009060355040613024445310c300a060355040a0c034f7267310a300806035504030c01"                   \
	"2a"
/* C=DE, O=Org\, Inc., CN=müller */
#define DN_UMLAUT                                                                                            \
	"3033310b300906035504061302444531123010060355040a0c094f72672c20496e632e3110300e06"                   \
	"035504030c076dc3bc6c6c6572"
/* DC=org, DC=example, CN=b + OU=a, E=x@y.z */
#define DN_MULTI                                                                                             \
	"305a31133011060a0992268993f22c64011916036f726731173015060a0992268993f22c64011916"                   \
	"076578616d706c653114300806035504030c01623008060355040b0c01613114301206092a864886"                   \
	"f70d01090116057840792e7a"
