//! The services that are no kind of target: of them only the port is checked.

use crate::targets::key_values;

/// Schemes that are those of any kind that a setting names: the library's, whatever the database is.
pub(crate) const OF_ANY_KIND: &[&str] = &["ecto"];

/// Schemes and their default ports, from the registry of IANA or the services' documentation.
pub(crate) const ONLY_PORTS: &[(&str, u16)] = &[
    ("bolt", 7687),
    ("cassandra", 9042),
    ("clickhouse", 9000),
    ("cockroachdb", 26257),
    ("consul", 8500),
    ("couchdb", 5984),
    ("db2", 50000),
    ("ecto", 5432),
    ("elasticsearch", 9200),
    ("etcd", 2379),
    ("ftp", 21),
    ("h2", 9092),
    ("imap", 143),
    ("imaps", 993),
    ("influxdb", 8086),
    ("ldap", 389),
    ("ldaps", 636),
    ("memcache", 11211),
    ("memcached", 11211),
    ("mqtt", 1883),
    ("mqtts", 8883),
    ("mssql", 1433),
    ("nats", 4222),
    ("neo4j", 7687),
    ("opensearch", 9200),
    ("oracle", 1521),
    ("pop3", 110),
    ("pulsar", 6650),
    ("redis+sentinel", 26379),
    ("redis-sentinel", 26379),
    ("sentinel", 26379),
    ("sftp", 22),
    ("smtp", 25),
    ("smtps", 465),
    ("solr", 8983),
    ("sqlserver", 1433),
    ("sqs", 443),
    ("ssh", 22),
    ("stomp", 61613),
    ("tls", 443),
    ("ws", 80),
    ("wss", 443),
    ("zookeeper", 2181),
];

/// URLs of their drivers' forms that are none: SQL Server's `Server=db,1433;Database=shop;User Id=…`,
/// Oracle's `jdbc:oracle:thin:@//db:1521/shop` and H2's `jdbc:h2:tcp://db:9092/shop`.
pub(crate) fn of_driver(text: &str) -> Option<String> {
    sql_server(text)
        .or_else(|| oracle(text))
        .or_else(|| h2(text))
}

fn sql_server(text: &str) -> Option<String> {
    const OWN: [&str; 6] = [
        "encrypt",
        "integrated security",
        "multipleactiveresultsets",
        "trustservercertificate",
        "trust server certificate",
        "trusted_connection",
    ];
    let pairs = key_values(text, ';')?;
    let get = |names: &[&str]| pairs.get(names);
    let server = get(&[
        "server",
        "data source",
        "address",
        "addr",
        "network address",
    ])?;
    let (host, port) = server.split_once(',').unwrap_or((server, "1433"));
    let is_own = server.contains(',') || server.starts_with("tcp:") || get(&OWN).is_some();
    let host = host.strip_prefix("tcp:").unwrap_or(host);
    let host = host.split('\\').next().unwrap_or_default();
    is_own.then(|| format!("sqlserver://{}:{}", host.trim(), port.trim()))
}

fn oracle(text: &str) -> Option<String> {
    let place = text.strip_prefix("jdbc:oracle:thin:")?.split_once('@')?.1;
    let place = place.trim_start_matches('/');
    let place = place.split('/').next().unwrap_or_default();
    // The name of a database may follow the port.
    let mut parts = place.splitn(3, ':');
    let (host, port) = (parts.next()?, parts.next().unwrap_or("1521"));
    Some(format!("oracle://{host}:{port}"))
}

fn h2(text: &str) -> Option<String> {
    let (_, place) = text.split_once(":h2:")?;
    let place = place
        .strip_prefix("tcp://")
        .or_else(|| place.strip_prefix("ssl://"))?;
    let host = place.split('/').next().unwrap_or_default();
    Some(format!("h2://{host}"))
}
