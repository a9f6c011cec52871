//! The options of a request, and the headers of a response that say when to come back. Nothing here
//! touches the network.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use crate::targets::{Address, Expected, Secret};

/// The headers that belong to the connection or to a body, which are not for a target to set.
const OWN: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The longest that a service may ask for: one that is wrong must not stop a wait without a deadline.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What a request is made of besides its URL, and what its response has to be.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) method: Method,
    /// Their values are secret.
    pub(super) headers: HeaderMap,
    /// A text that the page has to contain.
    pub(super) contains: Option<Secret>,
    statuses: Statuses,
}

/// The statuses that are ready.
#[derive(Debug)]
struct Statuses(Vec<RangeInclusive<u16>>);

impl Options {
    pub(super) fn of(address: &Address) -> Result<Self, Expected> {
        let method = method(address.option("method").unwrap_or("GET"))?;
        let contains = address.option("contains");
        if contains.is_some_and(str::is_empty) {
            return Err(Expected::new("expected contains=TEXT"));
        }
        if contains.is_some() && method == Method::HEAD {
            return Err(Expected::new("expected contains without method=HEAD, which has no page"));
        }
        let mut headers = HeaderMap::new();
        for text in address.options_named("header") {
            let (name, value) = header(text)?;
            headers.append(name, value);
        }
        let statuses = address.options_named("status").map(statuses);
        Ok(Self {
            method,
            headers,
            contains: contains.map(Secret::new),
            statuses: Statuses(statuses.collect::<Result<_, _>>()?),
        })
    }

    /// Whether a status is one that is expected: if the target names none, from 200 to 399.
    pub(super) fn expects(&self, status: StatusCode) -> bool {
        let is_in = |statuses: &RangeInclusive<u16>| statuses.contains(&status.as_u16());
        match &self.statuses.0[..] {
            [] => is_in(&(200..=399)),
            statuses => statuses.iter().any(is_in),
        }
    }

    /// The statuses that are expected, if the target names any.
    pub(super) fn expected(&self) -> Option<String> {
        Some(self.statuses.to_string()).filter(|statuses| !statuses.is_empty())
    }

    /// Its parts, for people; no value of a header.
    pub(super) fn description(&self) -> Vec<(&'static str, String)> {
        let is_given = |method: &&Method| *method != Method::GET;
        let names: Vec<_> = self.headers.keys().map(HeaderName::as_str).collect();
        let parts = [
            ("method", Some(&self.method).filter(is_given).map(Method::to_string)),
            ("status", self.expected()),
            ("headers", Some(names.join(", ")).filter(|names| !names.is_empty())),
            ("contains", self.contains.as_ref().map(|_| "a text".to_owned())),
        ];
        let parts = parts.into_iter();
        parts.filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, statuses) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { " or " };
            write!(f, "{separator}{}", statuses.start())?;
            if statuses.start() != statuses.end() {
                write!(f, "-{}", statuses.end())?;
            }
        }
        Ok(())
    }
}

fn method(text: &str) -> Result<Method, Expected> {
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes());
    let method = method.ok().filter(|method| *method != Method::CONNECT);
    method.ok_or_else(|| Expected::new("expected method to be GET, HEAD, POST or another one"))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), Expected> {
    let parse = || {
        let (name, value) = text.split_once(':')?;
        let name = HeaderName::try_from(name.trim()).ok()?;
        let mut value = HeaderValue::try_from(value.trim()).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    let (name, value) = parse().ok_or_else(|| Expected::new("expected header=NAME: VALUE"))?;
    match OWN.contains(&name) {
        true => Err(Expected::new("expected a header that is not about the connection or a body")),
        false => Ok((name, value)),
    }
}

fn statuses(text: &str) -> Result<RangeInclusive<u16>, Expected> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|status| (100..=999).contains(status));
    let statuses = number(first).zip(number(last)).filter(|(first, last)| first <= last);
    let statuses = statuses.map(|(first, last)| first..=last);
    statuses.ok_or_else(|| Expected::new("expected status to be like 204 or 200-299"))
}

/// How long a response asks to wait before the next request: for some seconds, or until a time by the
/// service's own clock, if it tells it.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text| httpdate::parse_http_date(text).ok();
    let text = value(header::RETRY_AFTER)?;
    let until = |time: SystemTime| {
        let now = value(header::DATE).and_then(date).unwrap_or(now);
        time.duration_since(now).unwrap_or_default()
    };
    let seconds = text.parse().ok().map(Duration::from_secs);
    let asked = seconds.or_else(|| date(text).map(until))?;
    Some(asked.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_service_may_ask_for_seconds_or_a_time() {
        let noon = "Thu, 26 Nov 2026 12:00:00 GMT";
        let now = UNIX_EPOCH + Duration::from_secs(1_795_694_400 + 10);
        for (text, date, expected) in [
            ("0", None, Some(0)),
            ("7", None, Some(7)),
            (" 7 ", Some(noon), Some(7)),
            ("100000", None, Some(300)),
            ("99999999999999999999", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("soon", None, None),
            ("", None, None),
            ("Thu, 26 Nov 2026 12:01:00 GMT", None, Some(50)),
            ("Thu, 26 Nov 2026 12:01:00 GMT", Some(noon), Some(60)),
            ("Thursday, 26-Nov-26 12:01:00 GMT", Some(noon), Some(60)),
            ("Thu Nov 26 12:01:00 2026", Some(noon), Some(60)),
            ("Thu, 26 Nov 2026 12:01:00 GMT", Some("noon"), Some(50)),
            ("Thu, 26 Nov 2026 11:59:00 GMT", Some(noon), Some(0)),
            ("Fri, 26 Nov 2100 11:59:00 GMT", Some(noon), Some(300)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().expect(text));
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().expect(date));
            }
            let asked = retry_after(&headers, now);
            assert_eq!(asked, expected.map(Duration::from_secs), "{text} at {date:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn statuses_are_numbers_and_ranges() {
        for (text, expected) in [
            ("204", Some(204..=204)),
            ("200-299", Some(200..=299)),
            ("100-999", Some(100..=999)),
            ("404-404", Some(404..=404)),
            ("99", None),
            ("1000", None),
            ("299-200", None),
            ("200-", None),
            ("-200", None),
            ("200-299-300", None),
            ("200 - 299", None),
            ("2xx", None),
            ("", None),
        ] {
            assert_eq!(statuses(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn headers_have_a_name_and_a_secret_value() {
        for (text, expected) in [
            ("Host: example.org", Some(("host", "example.org"))),
            ("X-Key:a:b, c", Some(("x-key", "a:b, c"))),
            ("x:", Some(("x", ""))),
            ("x: \u{e9}", Some(("x", "\u{e9}"))),
            ("x", None),
            (": y", None),
            ("a b: y", None),
            ("x: a\r\ny: b", None),
            ("x: a\0", None),
            ("Connection: keep-alive", None),
            ("content-length: 7", None),
        ] {
            let parsed = header(text).ok();
            let found = parsed.as_ref().map(|(name, value)| (name.as_str(), value.as_bytes()));
            assert_eq!(found, expected.map(|(name, value)| (name, value.as_bytes())), "{text}");
            assert!(parsed.is_none_or(|(_, value)| value.is_sensitive()), "{text}");
        }
    }
}
