//! Targets that are URLs.

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Endpoint, Http, MYSQL_PORT, MySql, Parameters, Secret, SslMode, TargetError};
use super::{is_mysql_url, split_scheme};

#[cfg(feature = "mysql")]
pub(super) fn mysql(text: &str, parameters: Parameters) -> Result<MySql, TargetError> {
    let url = match split_scheme(text) {
        None => Url::parse(&format!("mysql://{text}")),
        Some(_) if is_mysql_url(text) => Url::parse(text),
        Some(_) => return Err(TargetError::NotMySql),
    };
    let url = url.map_err(url_error)?;
    if has_at_behind_host(&url) {
        return Err(TargetError::MisplacedAt);
    }

    let host = url.host_str().ok_or(TargetError::Host)?;
    let port = url.port().unwrap_or(MYSQL_PORT);
    if port == 0 {
        return Err(TargetError::Port);
    }
    let password = match url.password() {
        Some(password) => Some(Secret::new(decode(password)?)),
        // The URL parser does not tell an empty password from none.
        None if text.contains(":@") => Some(Secret::new("")),
        None => None,
    };
    let database = decode(url.path().strip_prefix('/').unwrap_or(""))?;
    if url.path().matches('/').count() > 1 || url.fragment().is_some() {
        return Err(TargetError::Database);
    }
    let (mut ssl_mode, mut socket) = (SslMode::default(), None);
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "ssl-mode" => ssl_mode = value.parse()?,
            "socket" if value.starts_with('/') => socket = Some(value.as_ref().into()),
            "socket" if parameters == Parameters::Ours => return Err(TargetError::Socket),
            // It is not told which: it may be what a '?' and a ',' have cut out of a password.
            _ if parameters == Parameters::Ours => return Err(TargetError::Parameter),
            _ => {}
        }
    }
    Ok(MySql {
        endpoint: Endpoint {
            host: decode(host)?.parse()?,
            port,
        },
        socket,
        user: non_empty(decode(url.username())?),
        password,
        database: non_empty(database),
        ssl_mode,
    })
}

#[cfg(feature = "http")]
pub(super) fn http(text: &str) -> Result<Http, TargetError> {
    let url = Url::parse(text).map_err(url_error)?;
    // Without a login it is one of a path's characters.
    let has_login = !url.username().is_empty() || url.password().is_some();
    if has_login && has_at_behind_host(&url) {
        return Err(TargetError::MisplacedAt);
    }
    let port = match url.port_or_known_default() {
        None | Some(0) => return Err(TargetError::Port),
        Some(port) => port,
    };
    Ok(Http {
        is_secure: url.scheme() == "https",
        endpoint: Endpoint {
            host: decode(url.host_str().ok_or(TargetError::Host)?)?.parse()?,
            port,
        },
        user: non_empty(decode(url.username())?),
        password: url.password().map(decode).transpose()?.map(Secret::new),
        path: url.path().to_owned(),
        query: url.query().map(Secret::new),
    })
}

/// What such an '@' ends is most likely the rest of a password that was not encoded.
fn has_at_behind_host(url: &Url) -> bool {
    let behind_host = [Some(url.path()), url.query(), url.fragment()];
    behind_host.into_iter().flatten().any(|s| s.contains('@'))
}

fn url_error(error: url::ParseError) -> TargetError {
    match error {
        url::ParseError::InvalidPort => TargetError::Port,
        url::ParseError::EmptyHost => TargetError::Host,
        other => TargetError::Url(other),
    }
}

fn decode(text: &str) -> Result<String, TargetError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| TargetError::Encoding)
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
