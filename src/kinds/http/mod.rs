//! HTTP and HTTPS.

#[cfg(feature = "http")]
mod options;
#[cfg(feature = "http")]
mod probe;

use super::compiled_in;
use crate::probe::{Reason, Retry, reason};
use crate::targets::{Kind, Parameters, Scheme};

pub(super) static KIND: Kind = Kind {
    name: "http",
    title: "HTTP and HTTPS",
    schemes: &[Scheme::plain("http", 80), Scheme::tls("https", 443)],
    settings: &[],
    several_hosts: false,
    parameters: Parameters::Opaque,
    dialects: &[],
    options: &[
        "status",
        "contains",
        "method",
        "header",
        "user",
        "password-file",
        "password-env",
        "tls",
        "ca-file",
        "cert-file",
        "key-file",
    ],
    reasons: &[&HTTP_STATUS, &WITHOUT_TEXT, &CLOSED, &PROTOCOL, &reason::TLS_FAILED],
    codes: &[],
    ready_when: "a GET request is answered with a status from 200 to 399, or with one that the option \
                 `status` names and the text that `contains` names; redirects are not followed, and the \
                 certificate is verified",
    examples: &[
        "http://web/",
        "http://app:secret@web:8080/health?deep=1",
        "https://web/health",
        "https://web/health#status=200&contains=ok&header=Host: example.org",
    ],
    parse: compiled_in!("http", probe::parse),
};

const HTTP_STATUS: Reason = Reason {
    name: "http_status",
    seen: "the status is none of those that are expected, by default from 200 to 399",
    hint: "is this the right path? If so, the service's own log may have the cause",
    retry: Retry::Politely,
    permanent: false,
};

const WITHOUT_TEXT: Reason = Reason {
    name: "not_serving",
    seen: "the page does not contain the text of the option `contains`",
    hint: "is this the right page? Its first line is in the message",
    retry: Retry::Politely,
    permanent: false,
};

/// The service has had the request.
const CLOSED: Reason = Reason {
    retry: Retry::Politely,
    ..reason::CLOSED
};

/// To find out what is wrong may have taken a long response.
const PROTOCOL: Reason = Reason {
    hint: "is this the right port, http:// for plain text and https:// for TLS?",
    retry: Retry::Politely,
    ..reason::PROTOCOL
};
