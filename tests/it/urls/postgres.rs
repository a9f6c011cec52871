//! The same for PostgreSQL.

use std::sync::Arc;

use rustls::ServerConfig;

use super::{
    Login, Named, Off, Prefer, Protocol, Require, Row, SOCKET, Trusted, check_rows, secured,
};
use crate::fixtures::mysql::Seen;
use crate::fixtures::postgres::{answer_for, record};

const POSTGRES: Protocol<Seen> = Protocol {
    ports: &[5432, 5433, 6432, 25060],
    socket: ".s.PGSQL.5432",
    // A client that begins with TLS insists on the protocol's name (ALPN).
    record: |stream, config, seen| {
        let named = |config: Arc<ServerConfig>| {
            let mut config = (*config).clone();
            config.alpn_protocols = vec![b"postgresql".to_vec()];
            Arc::new(config)
        };
        record(stream, config.map(named).map(secured), seen)
    },
};

const APP: Login = ("app", "secret", "shop");

/// As in the table for MySQL. `{folder}` is that of the socket, `{%folder}` the same encoded.
///
/// `sslmode` in a URL that may be one of npm's pg is as strict as pg takes it: `prefer`, `require` and
/// `verify-ca` are `verify-full` there.
#[rustfmt::skip]
const ROWS: &[(&str, &[Row])] = &[
    ("node-postgres, connecting: connection URI", &[
        ("postgresql://app:secret@db:5432/shop", APP, 5432, Prefer),
        ("postgres://app:secret@db/shop", APP, 5432, Prefer),
        ("postgres://app:secret@db:5433/shop?application_name=web&keepalives=0", APP, 5433, Prefer),
        ("postgres://app:secret@{%folder}/shop", APP, SOCKET, Prefer),
        ("postgres://app:secret@localhost/shop?host={folder}", APP, SOCKET, Prefer),
        ("postgres://app@db/shop?password=secret", APP, 5432, Prefer),
        ("postgres://other:wrong@db/shop?user=app&password=secret", APP, 5432, Prefer),
        ("postgres://app:secret@db/shop?user=&password=", APP, 5432, Prefer),
        ("postgres://app:secret@db:1/shop?port=5433", APP, 5433, Prefer),
        ("postgres://app:secret@other:5433/shop?host=db", APP, 5433, Prefer),
        ("postgres://app:p%40s%23s%2Fw%3Ard@db/shop", ("app", "p@s#s/w:rd", "shop"), 5432, Prefer),
    ]),
    ("node-postgres, SSL", &[
        ("postgres://app:secret@db/shop?ssl=true", APP, 5432, Named),
        ("postgres://app:secret@db/shop?ssl=1", APP, 5432, Named),
        ("postgres://app:secret@db/shop?ssl=0", APP, 5432, Off),
        ("postgres://app:secret@db/shop?ssl=no-verify", APP, 5432, Require),
        ("postgres://app:secret@db/shop?sslmode=disable", APP, 5432, Off),
        ("postgres://app:secret@db/shop?sslmode=no-verify", APP, 5432, Require),
        ("postgres://app:secret@db/shop?sslmode=prefer", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslmode=require", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslmode=verify-ca", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslmode=verify-full", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslmode=verify-full&sslrootcert={ca}", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslmode=require&uselibpqcompat=true", APP, 5432, Require),
        ("postgres://app:secret@db/shop?sslmode=prefer&uselibpqcompat=true", APP, 5432, Prefer),
        ("postgres://app:secret@db/shop?sslmode=verify-ca&sslrootcert={ca}&uselibpqcompat=true", APP, 5432, Trusted),
        ("postgres://app:secret@db/shop?sslnegotiation=direct&sslmode=require", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslnegotiation=direct", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslrootcert={ca}", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslrootcert={ca}&ssl=0", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslrootcert={ca}&sslmode=disable", APP, 5432, Off),
        ("postgres://app:secret@db/shop?sslcert=client.crt", APP, 5432, Named),
        ("postgres://app:secret@db/shop?sslkey=client.key&sslcert=", APP, 5432, Named),
    ]),
    ("Neon, Supabase, Aiven, DigitalOcean and Heroku: URLs of managed databases", &[
        ("postgresql://app:secret@db/shop?sslmode=require", APP, 5432, Named),
        ("postgresql://postgres.abc:secret@db:6432/postgres", ("postgres.abc", "secret", "postgres"), 6432, Prefer),
        ("postgresql://postgres.abc:secret@db:6432/postgres?pgbouncer=true&connection_limit=1", ("postgres.abc", "secret", "postgres"), 6432, Prefer),
        ("postgres://avnadmin:secret@db:25060/defaultdb?sslmode=require", ("avnadmin", "secret", "defaultdb"), 25060, Named),
        ("postgresql://doadmin:secret@db:25060/defaultdb?sslmode=require", ("doadmin", "secret", "defaultdb"), 25060, Named),
        ("postgres://u1:p1@db:5432/d1", ("u1", "p1", "d1"), 5432, Prefer),
        ("postgresql://app:secret@db/shop?options=project%3Dx", APP, 5432, Prefer),
    ]),
    ("Prisma, PostgreSQL connector", &[
        ("postgresql://app:secret@db:5432/shop?schema=public", APP, 5432, Prefer),
        ("postgresql://app:secret@db:5432/shop?schema=public&connection_limit=5&socket_timeout=3", APP, 5432, Prefer),
        ("postgresql://app:secret@db:6432/shop?pgbouncer=true&statement_cache_size=0", APP, 6432, Prefer),
        ("postgresql://app:secret@localhost/shop?host={folder}/", APP, SOCKET, Prefer),
        ("postgresql://app:secret@localhost/shop?host={folder}", APP, SOCKET, Prefer),
        ("postgresql://app:secret@db/shop?sslmode=require&sslaccept=accept_invalid_certs", APP, 5432, Require),
        ("postgresql://app:secret@db/shop?sslmode=require&sslaccept=strict", APP, 5432, Named),
        ("postgresql://app:secret@db/shop?sslmode=prefer&sslaccept=accept_invalid_certs", APP, 5432, Prefer),
        ("postgresql://app:secret@db/shop?sslmode=require&sslaccept=strict&sslcert={ca}", APP, 5432, Named),
        ("postgresql://app:secret@db/shop?sslmode=require&sslaccept=accept_invalid_certs&sslcert=../server-ca.pem&sslidentity=client-identity.p12&sslpassword=mypassword", APP, 5432, Require),
        ("\"postgresql://app:secret@db:5432/shop?schema=public\"", APP, 5432, Prefer),
    ]),
    ("TypeORM, Sequelize, Knex and Drizzle, URLs", &[
        ("postgres://user:secret@db:5432/dbname", ("user", "secret", "dbname"), 5432, Prefer),
        ("postgres://app:secret@db/shop?ssl={\"rejectUnauthorized\":false}", APP, 5432, Require),
        ("postgres://app:secret@db/shop?ssl={\"rejectUnauthorized\":true}", APP, 5432, Named),
        ("postgres://app:secret@db/shop?pool_size=5&synchronize=true", APP, 5432, Prefer),
    ]),
    ("libpq, connection URIs", &[
        ("postgresql://app:secret@db/shop?connect_timeout=10&application_name=web", APP, 5432, Prefer),
        ("postgresql://db:5433/shop?user=app&password=secret", APP, 5433, Prefer),
        ("postgresql:///shop?host=db&port=5433&user=app&password=secret", APP, 5433, Prefer),
        ("postgresql://app:secret@/shop?host={folder}", APP, SOCKET, Prefer),
        ("postgresql:///shop?host={folder}&user=app&password=secret", APP, SOCKET, Prefer),
        ("postgresql://app:secret@{%folder}:5432/shop", APP, SOCKET, Prefer),
        ("postgresql://app:secret@/shop?host=db", APP, 5432, Prefer),
        ("postgresql://app:secret@other/wrong?host=db&dbname=shop", APP, 5432, Prefer),
        ("postgresql://app:secret@db:5432,db:5433/shop?target_session_attrs=read-write", APP, 5432, Prefer),
        ("postgresql://app:secret@db:1,db:5433/shop?target_session_attrs=any", APP, 5433, Prefer),
        ("postgresql://app:secret@/shop?host=db,db&port=1,5433", APP, 5433, Prefer),
        ("postgresql://app:secret@db:1,app:secret@db:5433/shop", APP, 5433, Prefer),
        ("postgresql://app:p@ss@db:1,app:p@ss@db:5433/shop?port=1,5433", ("app", "p@ss", "shop"), 5433, Prefer),
        ("postgresql://app:secret@db/shop?gssencmode=disable&channel_binding=prefer", APP, 5432, Prefer),
    ]),
    ("libpq, keyword/value connection strings (psql, psycopg, Go's lib/pq and pgx, PHP's pg_connect)", &[
        ("host=db port=5432 user=app password=secret dbname=shop", APP, 5432, Prefer),
        ("host=db port=5433 user=app password=secret dbname=shop connect_timeout=10", APP, 5433, Prefer),
        ("user=app password=secret dbname=shop host=db sslmode=disable", APP, 5432, Off),
        ("user=app password=secret dbname=shop host=db sslmode=require", APP, 5432, Require),
        ("user=app password=secret dbname=shop host=db sslmode=verify-ca sslrootcert={ca}", APP, 5432, Trusted),
        ("user=app password=secret dbname=shop host=db sslmode=require sslrootcert={ca}", APP, 5432, Trusted),
        ("user=app password=secret dbname=shop host=db sslmode=verify-full", APP, 5432, Named),
        ("user=app password=secret dbname=shop host=db sslrootcert=system", APP, 5432, Named),
        ("user=app password=secret dbname=shop host=db sslmode=allow", APP, 5432, Off),
        ("host=db user=app password='it\\'s a \\\\ secret' dbname=shop", ("app", "it's a \\ secret", "shop"), 5432, Prefer),
        ("host = db user = app password = secret dbname = shop", APP, 5432, Prefer),
        ("host={folder} user=app password=secret dbname=shop", APP, SOCKET, Prefer),
        ("hostaddr=db user=app password=secret dbname=shop", APP, 5432, Prefer),
        ("host=other hostaddr=db user=app password=secret dbname=shop", APP, 5432, Prefer),
        ("host=db hostaddr=10.0.0.5 user=app password=secret dbname=shop sslmode=verify-full", APP, 5432, Named),
        ("user=app password=secret dbname=shop host=db sslrootcert={ca}", APP, 5432, Prefer),
        ("host=db,db port=1,5433 user=app password=secret dbname=shop", APP, 5433, Prefer),
        ("host=db user=app password=se,cr;e#t=x dbname=shop", ("app", "se,cr;e#t=x", "shop"), 5432, Prefer),
        ("host=db user=app dbname=shop password=a@/b", ("app", "a@/b", "shop"), 5432, Prefer),
        ("dbname=shop host=db user=app password=secret target_session_attrs=primary", APP, 5432, Prefer),
    ]),
    ("SQLAlchemy, PostgreSQL dialects", &[
        ("postgresql+psycopg2://app:secret@db:5432/shop", APP, 5432, Prefer),
        ("postgresql+psycopg://app:secret@db/shop", APP, 5432, Prefer),
        ("postgresql+asyncpg://app:secret@db/shop", APP, 5432, Prefer),
        ("postgresql+pg8000://app:secret@db/shop", APP, 5432, Prefer),
        ("postgresql+psycopg2cffi://app:secret@db/shop", APP, 5432, Prefer),
        ("postgresql+psycopg2://app:secret@/shop?host={folder}", APP, SOCKET, Prefer),
        ("postgresql+pg8000://app:secret@/shop?unix_sock={socket}", APP, SOCKET, Prefer),
        ("postgresql+psycopg2://app:secret@/shop?host=db:1&host=db:5433", APP, 5433, Prefer),
        ("postgresql+psycopg2://app:secret@/shop?host=db,db&port=1,5433", APP, 5433, Prefer),
        ("postgresql+psycopg2://app:secret@db/shop?sslmode=require", APP, 5432, Require),
        ("postgresql+psycopg2://app:secret@db/shop?sslrootcert={ca}", APP, 5432, Prefer),
        ("postgresql+psycopg2://app:secret@db/shop?sslmode=verify-ca&sslrootcert={ca}", APP, 5432, Trusted),
        ("postgresql+asyncpg://app:secret@db/shop?ssl=require", APP, 5432, Require),
        ("postgresql+asyncpg://app:secret@db/shop?ssl=verify-full", APP, 5432, Named),
        ("postgresql+asyncpg://app:secret@db/shop?ssl=disable", APP, 5432, Off),
        ("postgresql+psycopg2://scott:t%C3%AFger@db/shop", ("scott", "t\u{ef}ger", "shop"), 5432, Prefer),
    ]),
    ("Rails, configuring a PostgreSQL database (DATABASE_URL)", &[
        ("postgresql://app:secret@db/shop?pool=5", APP, 5432, Prefer),
        ("postgis://app:secret@db/shop", APP, 5432, Prefer),
        ("postgres:///shop?host={folder}&user=app&password=secret", APP, SOCKET, Prefer),
        ("postgresql://app:secret@db/shop?encoding=unicode&prepared_statements=false", APP, 5432, Prefer),
    ]),
    ("Django, dj-database-url and django-environ", &[
        ("postgres://USER:secret@db:5432/NAME", ("USER", "secret", "NAME"), 5432, Prefer),
        ("pgsql://app:secret@db/shop", APP, 5432, Prefer),
        ("psql://app:secret@db:5433/shop", APP, 5433, Prefer),
        ("timescale://app:secret@db/shop", APP, 5432, Prefer),
        ("postgis://app:secret@db/shop?sslmode=require", APP, 5432, Require),
        ("postgres://app:secret@{%folder}/shop", APP, SOCKET, Prefer),
        ("postgres://app:secret@db/shop?currentSchema=other&conn_max_age=60", APP, 5432, Prefer),
    ]),
    ("Laravel and Symfony, database URLs", &[
        ("pgsql://forge:secret@db:5432/forge?charset=UTF-8", ("forge", "secret", "forge"), 5432, Prefer),
        ("pgsql://app:secret@db/shop?sslmode=require", APP, 5432, Require),
        ("postgresql://app:!ChangeMe!@db:5432/app?serverVersion=16&charset=utf8", ("app", "!ChangeMe!", "app"), 5432, Prefer),
        ("pdo-pgsql://app:secret@db/shop", APP, 5432, Prefer),
        ("pgsql:host=db;port=5433;dbname=shop;user=app;password=secret", APP, 5433, Prefer),
        ("pgsql:host=db;dbname=shop;user=app;password=secret;sslmode=require", APP, 5432, Require),
        ("pgsql:host=db;dbname=shop;user=app;password=a@/b", ("app", "a@/b", "shop"), 5432, Prefer),
    ]),
    ("Spring Boot and pgJDBC, connection parameters", &[
        ("jdbc:postgresql://db:5432/shop?user=app&password=secret", APP, 5432, Prefer),
        ("jdbc:postgresql://db/shop?user=app&password=p@ss&w=1", ("app", "p@ss", "shop"), 5432, Prefer),
        ("jdbc:postgresql://db/shop?user=app&password=secret&ssl=true", APP, 5432, Named),
        ("jdbc:postgresql://db/shop?user=app&password=secret&ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory", APP, 5432, Require),
        ("jdbc:postgresql://db/shop?user=app&password=secret&sslmode=disable", APP, 5432, Off),
        ("jdbc:postgresql://db/shop?user=app&password=secret&sslmode=prefer", APP, 5432, Prefer),
        ("jdbc:postgresql://db/shop?user=app&password=secret&sslmode=require", APP, 5432, Require),
        ("jdbc:postgresql://db/shop?user=app&password=p@ss&sslmode=require", ("app", "p@ss", "shop"), 5432, Require),
        ("jdbc:postgresql://db/shop?user=app&password=secret&ssl=true&sslmode=require", APP, 5432, Require),
        ("jdbc:postgresql://db/shop?user=app&password=secret&sslmode=verify-ca&sslrootcert={ca}", APP, 5432, Trusted),
        ("jdbc:postgresql://db/shop?user=app&password=secret&sslmode=verify-full", APP, 5432, Named),
        ("jdbc:postgresql://db:1,db:5433/shop?user=app&password=secret&targetServerType=primary", APP, 5433, Prefer),
        ("jdbc:postgresql://db/shop?user=app&password=secret&currentSchema=x&reWriteBatchedInserts=true", APP, 5432, Prefer),
        ("jdbc:postgresql://db/shop?user=app&password=secret&sslNegotiation=direct&sslmode=require", APP, 5432, Require),
        ("jdbc:aws-wrapper:postgresql://db:5432/shop?user=app&password=secret", APP, 5432, Prefer),
        ("JDBC:POSTGRESQL://db/shop?user=app&password=secret", APP, 5432, Prefer),
        ("jdbc:postgresql:shop?user=app&password=secret", APP, 5432, Prefer),
    ]),
    ("Spring R2DBC, r2dbc-postgresql", &[
        ("r2dbc:postgresql://app:secret@db:5432/shop", APP, 5432, Prefer),
        ("r2dbc:pool:postgresql://app:secret@db:5432/shop?initialSize=5", APP, 5432, Prefer),
        ("r2dbc:postgresql://app:secret@db/shop?sslMode=require", APP, 5432, Require),
        ("r2dbc:postgresql://app:secret@db/shop?sslMode=verify-ca&sslRootCert={ca}", APP, 5432, Trusted),
        ("r2dbc:postgresql://app:secret@db/shop?sslMode=VERIFY_FULL", APP, 5432, Named),
        ("r2dbcs:postgresql://app:secret@db/shop", APP, 5432, Named),
        ("r2dbc:postgresql:failover://app:secret@db:1,db:5433/shop", APP, 5433, Prefer),
    ]),
    (".NET, Npgsql: connection string parameters", &[
        ("Host=db;Username=app;Password=secret;Database=shop", APP, 5432, Prefer),
        ("Host=db;Port=5433;Username=app;Password=secret;Database=shop;Pooling=true", APP, 5433, Prefer),
        ("Server=db;Port=5432;User Id=app;Password=secret;Database=shop;", APP, 5432, Prefer),
        ("User ID=app;Password=secret;Host=db;Port=5432;Database=shop", APP, 5432, Prefer),
        ("Host=db;Username=app;Password=secret;Database=shop;SSL Mode=Disable", APP, 5432, Off),
        ("Host=db;Username=app;Password=secret;Database=shop;SSL Mode=Prefer", APP, 5432, Prefer),
        ("Host=db;Username=app;Password=secret;Database=shop;SSL Mode=Require;Trust Server Certificate=true", APP, 5432, Require),
        ("Host=db;Username=app;Password=secret;Database=shop;SslMode=VerifyCA;Root Certificate={ca}", APP, 5432, Trusted),
        ("Host=db;Username=app;Password=secret;Database=shop;SSL Mode=VerifyFull", APP, 5432, Named),
        ("Host=db;Username=app;Password='se;cr=et';Database=shop", ("app", "se;cr=et", "shop"), 5432, Prefer),
        ("Host=db;Username=app;Password=a:b@/c;Database=shop", ("app", "a:b@/c", "shop"), 5432, Prefer),
        ("Host={folder};Username=app;Password=secret;Database=shop", APP, SOCKET, Prefer),
        ("Host=db:1,db:5433;Username=app;Password=secret;Database=shop", APP, 5433, Prefer),
        ("Host=db;Username=app;Password=secret;Database=shop;SSL Mode=Require;SSL Negotiation=Direct", APP, 5432, Require),
    ]),
    ("Phoenix, Ecto.Adapters.Postgres: DATABASE_URL", &[
        ("ecto://app:secret@db/shop", APP, 5432, Prefer),
        ("ecto://app:secret@db:5432/shop?pool_size=10", APP, 5432, Prefer),
        ("ecto://app:secret@db/shop?ssl=true&pool_size=10", APP, 5432, Named),
        ("postgres://app:secret@localhost/shop?socket_dir={folder}", APP, SOCKET, Prefer),
    ]),
    ("Rust, sqlx and tokio-postgres", &[
        ("postgres://app:secret@db/shop?sslmode=disable", APP, 5432, Off),
        ("postgres://app:secret@db/shop?sslmode=verify-full&sslrootcert={ca}", APP, 5432, Named),
        ("postgresql://app:secret@db/shop?statement-cache-capacity=0", APP, 5432, Prefer),
        ("postgresql:///shop?user=app&password=secret&host={folder}", APP, SOCKET, Prefer),
    ]),
    ("As people write them", &[
        ("POSTGRES://app:secret@db/shop", APP, 5432, Prefer),
        ("postgres://app:secret@DB:5432/shop\r\n", APP, 5432, Prefer),
        ("\"postgres://app:secret@db/shop\" # the database", APP, 5432, Prefer),
        ("postgres://app:se,cr,et@db/shop", ("app", "se,cr,et", "shop"), 5432, Prefer),
        ("postgres://app:p@a,ss@db/shop", ("app", "p@a,ss", "shop"), 5432, Prefer),
        ("postgres://app:p@ss@db/shop", ("app", "p@ss", "shop"), 5432, Prefer),
        ("postgres://app:se:cret@db/shop", ("app", "se:cret", "shop"), 5432, Prefer),
        ("postgres://app:secret@db/sh@op", ("app", "secret", "sh@op"), 5432, Prefer),
        ("postgres://app:secret@db", ("app", "secret", ""), 5432, Prefer),
        ("postgres://app:secret@db/", ("app", "secret", ""), 5432, Prefer),
        ("postgres://app:secret@db.:5432/shop?x=1", APP, 5432, Prefer),
        ("postgres://app:sec%20ret+@db/shop", ("app", "sec ret+", "shop"), 5432, Prefer),
    ]),
];

#[tokio::test]
async fn the_url_of_an_application_logs_in_as_the_application_would() {
    check_rows(POSTGRES, ROWS, |(user, password, _)| {
        answer_for(user, password)
    })
    .await;
}
