//! The URLs that applications have, as their frameworks' documentation writes them, each against servers
//! that record the login. Nothing is taken on trust: the password must arrive where the
//! application would have sent it, and nowhere else.

mod postgres;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use compose_wait::net::{Names, Network, Roots};
use compose_wait::probe::{Attempt, NotReady, Overlap, Stop};
use compose_wait::settings::cli::Cli;
use compose_wait::settings::{self, Notice, Surroundings};
use compose_wait::targets::Target;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::time::timeout;

use crate::fixtures::mysql::{Seen, answer_for, record};
use crate::fixtures::ports::Port;
use crate::fixtures::tls::{Authority, tls};
use crate::support::wait;

/// How strict an application is about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tls {
    Off,
    /// Where the server has it, unverified.
    Prefer,
    /// Always, unverified.
    Require,
    /// From a server whose certificate is trusted.
    Trusted,
    /// And is for its name.
    Named,
}
use Tls::{Named, Off, Prefer, Require, Trusted};

/// User, password, database.
type Login = (&'static str, &'static str, &'static str);

const APP: Login = ("app", "secret", "shop");
const ROOT: Login = ("root", "secret", "shop");

/// The place of a socket in a row.
const SOCKET: u16 = 0;

/// The value of a variable, the login, the port or [`SOCKET`], and TLS. `{socket}` is the path of a
/// socket, `{%socket}` the same encoded, `{ca}` the file of an authority.
type Row = (&'static str, Login, u16, Tls);

/// Each with its source.
#[rustfmt::skip]
const ROWS: &[(&str, &[Row])] = &[
    ("Prisma, MySQL connector", &[
        ("mysql://app:secret@db:3306/shop", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql://app:secret@db:3306/shop?connection_limit=5&socket_timeout=3", APP, 3306, Prefer),
        ("mysql://app:secret@db:3306/shop?pool_timeout=20&connect_timeout=10", APP, 3306, Prefer),
        ("mysql://app:secret@db:3306/shop?sslaccept=strict", APP, 3306, Named),
        ("mysql://app:secret@db:3306/shop?sslaccept=accept_invalid_certs", APP, 3306, Require),
        ("mysql://app:secret@db:3306/shop?sslcert=../server-ca.pem&sslidentity=client-identity.p12&sslpassword=mypassword", APP, 3306, Require),
        ("mysql://app:secret@db:3306/shop?sslcert={ca}&sslaccept=strict", APP, 3306, Named),
        ("mysql://app:secret@localhost/shop?socket=({socket})", APP, SOCKET, Prefer),
        ("mysql://app:secret@localhost/shop?socket={socket}", APP, SOCKET, Prefer),
        ("mysql://app:p%40s%23s%2Fw%3Ard@db:3306/shop", ("app", "p@s#s/w:rd", "shop"), 3306, Prefer),
        ("\"mysql://app:secret@db:3306/shop\"", APP, 3306, Prefer),
        ("'mysql://app:secret@db:3306/shop'", APP, 3306, Prefer),
    ]),
    ("PlanetScale, Prisma and Node.js quickstarts", &[
        ("mysql://app:pscale_pw_x1@db/shop?sslaccept=strict", ("app", "pscale_pw_x1", "shop"), 3306, Named),
        ("mysql://app:pscale_pw_x1@db/shop?ssl={\"rejectUnauthorized\":true}", ("app", "pscale_pw_x1", "shop"), 3306, Trusted),
        ("mysql://app:pscale_pw_x1@db/shop?ssl=%7B%22rejectUnauthorized%22%3Atrue%7D", ("app", "pscale_pw_x1", "shop"), 3306, Trusted),
        ("mysql://app:secret@db:3306/shop?sslmode=verify_identity&sslca={ca}", APP, 3306, Named),
    ]),
    ("TiDB Cloud, connect from Node.js, Python, Rails and Java", &[
        ("mysql://2aEp.root:secret@db:4000/shop?ssl={\"minVersion\":\"TLSv1.2\",\"rejectUnauthorized\":true}", ("2aEp.root", "secret", "shop"), 4000, Trusted),
        ("mysql://2aEp.root:secret@db:4000/shop?sslaccept=strict", ("2aEp.root", "secret", "shop"), 4000, Named),
        ("mysql2://2aEp.root:secret@db:4000/shop?ssl_mode=verify_identity", ("2aEp.root", "secret", "shop"), 4000, Named),
        ("mysql+pymysql://2aEp.root:secret@db:4000/shop?ssl_ca={ca}&ssl_verify_cert=true&ssl_verify_identity=true", ("2aEp.root", "secret", "shop"), 4000, Named),
        ("jdbc:mysql://db:4000/shop?user=2aEp.root&password=secret&sslMode=VERIFY_IDENTITY&enabledTLSProtocols=TLSv1.2,TLSv1.3", ("2aEp.root", "secret", "shop"), 4000, Named),
    ]),
    ("DigitalOcean, Railway, Aiven and Heroku: URLs of managed databases", &[
        ("mysql://doadmin:secret@db:25060/defaultdb?ssl-mode=REQUIRED", ("doadmin", "secret", "defaultdb"), 25060, Require),
        ("mysql://avnadmin:secret@db:25060/defaultdb?ssl-mode=REQUIRED", ("avnadmin", "secret", "defaultdb"), 25060, Require),
        ("mysql://root:secret@db:3306/railway", ("root", "secret", "railway"), 3306, Prefer),
        ("mysql://b8f:1a2b@db/heroku_5a?reconnect=true", ("b8f", "1a2b", "heroku_5a"), 3306, Prefer),
    ]),
    ("TypeORM, mysql / mariadb data source options", &[
        ("mysql://root:secret@db:3306/shop", ROOT, 3306, Prefer),
        ("mariadb://root:secret@db:3306/shop", ROOT, 3306, Prefer),
        ("mysql://root:secret@db/shop?charset=UTF8_GENERAL_CI&timezone=Z", ROOT, 3306, Prefer),
        ("mysql://root:secret@db/shop?synchronize=true&logging=all", ROOT, 3306, Prefer),
    ]),
    ("Sequelize, connecting to a database", &[
        ("mysql://user:secret@db:3306/dbname", ("user", "secret", "dbname"), 3306, Prefer),
        ("mariadb://user:secret@db:3306/dbname", ("user", "secret", "dbname"), 3306, Prefer),
        ("mysql://root:@db:3306/shop", ("root", "", "shop"), 3306, Prefer),
        ("mysql://root@db:3306/shop", ("root", "", "shop"), 3306, Prefer),
        ("mysql://app:secret@db/shop?ssl=true", APP, 3306, Named),
    ]),
    ("Knex and mysql2, connection strings", &[
        ("mysql://app:secret@db/shop?charset=utf8mb4", APP, 3306, Prefer),
        ("mysql2://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop?ssl={}", APP, 3306, Trusted),
        ("mysql://app:secret@db/shop?ssl={\"rejectUnauthorized\":false}", APP, 3306, Require),
        ("mysql://app:secret@db/shop?ssl={\"rejectUnauthorized\": true, \"verifyIdentity\": true}", APP, 3306, Named),
        ("mysql://app:secret@db/shop?ssl=Amazon%20RDS", APP, 3306, Named),
        ("mysql://app:secret@db/shop?ssl=false", APP, 3306, Off),
        ("mysql://app:secret@db/shop?debug=true&flags=-FOUND_ROWS", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop?multipleStatements=true&dateStrings=true", APP, 3306, Prefer),
    ]),
    ("Rails, configuring a MySQL database (DATABASE_URL), mysql2 and trilogy", &[
        ("mysql2://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql2://app:secret@db:3307/shop?pool=5", APP, 3307, Prefer),
        ("trilogy://app:secret@db/shop", APP, 3306, Prefer),
        ("trilogy://app:secret@db/shop?ssl_mode=required", APP, 3306, Require),
        ("mysql2://app:secret@localhost/shop?socket={socket}", APP, SOCKET, Prefer),
        ("mysql2://app:secret@localhost/shop?socketPath={socket}", APP, SOCKET, Prefer),
        ("mysql2://app:secret@/shop?socket={socket}", APP, SOCKET, Prefer),
        ("mysql2://app:secret@db/shop?encoding=utf8mb4&reconnect=true", APP, 3306, Prefer),
        ("mysql2://app:secret@db/shop?sslca={ca}", APP, 3306, Trusted),
        ("mysql2://app:secret@db/shop?sslverify=true&sslca={ca}", APP, 3306, Named),
        ("mysql2://app:secret@db/shop?ssl_mode=verify_ca", APP, 3306, Trusted),
        ("mysql2://app:secret@db/shop?ssl_mode=disabled", APP, 3306, Off),
    ]),
    ("Laravel, read & write connections and DB_URL", &[
        ("mysql://root:secret@db/shop?charset=UTF-8", ROOT, 3306, Prefer),
        ("mysql://forge:secret@db/forge", ("forge", "secret", "forge"), 3306, Prefer),
        ("mariadb://forge:secret@db:3306/forge", ("forge", "secret", "forge"), 3306, Prefer),
        ("mysql://sail:secret@db:3306/laravel?unix_socket={socket}", ("sail", "secret", "laravel"), SOCKET, Prefer),
    ]),
    ("Symfony and Doctrine, database URL", &[
        ("mysql://app:!ChangeMe!@db:3306/app?serverVersion=8.0.32&charset=utf8mb4", ("app", "!ChangeMe!", "app"), 3306, Prefer),
        ("mysql://app:secret@db:3306/shop?serverVersion=10.11.2-MariaDB&charset=utf8mb4", APP, 3306, Prefer),
        ("pdo-mysql://app:secret@db/shop", APP, 3306, Prefer),
        ("mysqli://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql2://app:secret@db/shop?unix_socket={socket}", APP, SOCKET, Prefer),
        ("pdo-mysql://app:secret@localhost:4486/shop?charset=UTF-8&unix_socket={%socket}", APP, SOCKET, Prefer),
    ]),
    ("Django, dj-database-url and django-environ", &[
        ("mysql://USER:secret@db:3306/NAME", ("USER", "secret", "NAME"), 3306, Prefer),
        ("mysql-connector://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop?ssl-ca={ca}", APP, 3306, Trusted),
        ("mysql://app:secret@db/shop?ssl_mode=REQUIRED", APP, 3306, Require),
        ("mysql://app:secret@{%socket}/shop", APP, SOCKET, Prefer),
        ("mysql://app:%23secret@db/shop?conn_max_age=60", ("app", "#secret", "shop"), 3306, Prefer),
        ("mysqlgis://app:secret@db/shop", APP, 3306, Prefer),
    ]),
    ("SQLAlchemy, MySQL and MariaDB dialect", &[
        ("mysql+mysqldb://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql+mysqldb://app:secret@db:3307/shop?charset=utf8mb4", APP, 3307, Prefer),
        ("mysql+pymysql://app:secret@db/shop?charset=utf8mb4", APP, 3306, Prefer),
        ("mysql+aiomysql://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql+asyncmy://app:secret@db/shop", APP, 3306, Prefer),
        ("mysql+mysqlconnector://app:secret@db:3306/shop", APP, 3306, Prefer),
        ("mysql+pyodbc://app:secret@db/shop", APP, 3306, Prefer),
        ("mariadb+mariadbconnector://app:secret@db:3306/shop", APP, 3306, Prefer),
        ("mariadb+pymysql://app:secret@db/shop?charset=utf8mb4", APP, 3306, Prefer),
        ("mysql+pymysql://app:secret@db/shop?ssl_ca={ca}&ssl_check_hostname=false", APP, 3306, Trusted),
        ("mysql+mysqldb://app:secret@db/shop?ssl_ca={ca}&ssl_cert=/home/gord/client-ssl/client-cert.pem&ssl_key=/home/gord/client-ssl/client-key.pem", APP, 3306, Trusted),
        ("mysql+pymysql://app:secret@localhost/shop?unix_socket={socket}", APP, SOCKET, Prefer),
        ("mysql+mysqldb:///shop?unix_socket={socket}&user=app&password=secret", APP, SOCKET, Prefer),
        ("mysql+mysqlconnector://app:secret@db/shop?ssl_disabled=True", APP, 3306, Off),
        ("mysql+pymysql://scott:t%C3%AFger@db/shop", ("scott", "tïger", "shop"), 3306, Prefer),
        ("mysql+pymysql://app:kx%40jj5%2Fg@db/shop", ("app", "kx@jj5/g", "shop"), 3306, Prefer),
    ]),
    ("Spring Boot and MySQL Connector/J, connection URL syntax", &[
        ("jdbc:mysql://db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:mysql://db/shop?user=app&password=a@/b", ("app", "a@/b", "shop"), 3306, Prefer),
        ("jdbc:mysql://db/shop?user=app&password=secret&useSSL=false", APP, 3306, Off),
        ("jdbc:mysql://app:secret@db:3306/shop", APP, 3306, Prefer),
        ("jdbc:mysql://db/shop?user=app&password=secret&useSSL=true", APP, 3306, Prefer),
        ("jdbc:mysql://db/shop?user=app&password=secret&useSSL=true&requireSSL=true", APP, 3306, Require),
        ("jdbc:mysql://db/shop?user=app&password=secret&useSSL=true&requireSSL=true&verifyServerCertificate=false", APP, 3306, Require),
        ("jdbc:mysql://db/shop?user=app&password=secret&useSSL=true&verifyServerCertificate=true", APP, 3306, Trusted),
        ("jdbc:mysql://db/shop?user=app&password=secret&sslMode=PREFERRED", APP, 3306, Prefer),
        ("jdbc:mysql://db/shop?user=app&password=secret&sslMode=REQUIRED&allowPublicKeyRetrieval=true", APP, 3306, Require),
        ("jdbc:mysql://db/shop?user=app&password=secret&sslMode=VERIFY_CA", APP, 3306, Trusted),
        ("jdbc:mysql://db/shop?user=app&password=secret&sslMode=VERIFY_IDENTITY", APP, 3306, Named),
        ("jdbc:mysql://db/shop?user=app&password=secret&sslMode=DISABLED", APP, 3306, Off),
        ("jdbc:mysql://db/shop?user=app&password=p%26w&serverTimezone=UTC&useUnicode=true&characterEncoding=utf8", ("app", "p&w", "shop"), 3306, Prefer),
        ("jdbc:mysql:loadbalance://db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:mysql:replication://db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("JDBC:MYSQL://db/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:aws-wrapper:mysql://db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
    ]),
    ("MariaDB Connector/J", &[
        ("jdbc:mariadb://db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:mariadb://db/shop?user=app&password=secret&sslMode=trust", APP, 3306, Require),
        ("jdbc:mariadb://db/shop?user=app&password=secret&sslMode=verify-ca", APP, 3306, Trusted),
        ("jdbc:mariadb://db/shop?user=app&password=secret&sslMode=verify-full", APP, 3306, Named),
        ("jdbc:mariadb://db/shop?user=app&password=secret&sslMode=disable", APP, 3306, Off),
        ("jdbc:mariadb://db/shop?user=app&password=secret&useSsl=true", APP, 3306, Named),
        ("jdbc:mariadb://db/shop?user=app&password=secret&useSSL=true", APP, 3306, Named),
        ("jdbc:mariadb://db/shop?user=app&password=secret&useSsl=true&trustServerCertificate=true", APP, 3306, Require),
        ("jdbc:mariadb:sequential://db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:mariadb://localhost/shop?localSocket={socket}&user=app&password=secret", APP, SOCKET, Prefer),
    ]),
    ("Spring R2DBC, r2dbc-mysql and r2dbc-mariadb", &[
        ("r2dbc:mysql://app:secret@db:3306/shop", APP, 3306, Prefer),
        ("r2dbcs:mysql://app:secret@db:3306/shop", APP, 3306, Named),
        ("r2dbcs:mysql://db/shop?user=app&password=secret", APP, 3306, Named),
        ("r2dbc:mariadb://app:secret@db:3306/shop", APP, 3306, Prefer),
        ("r2dbc:pool:mysql://app:secret@db:3306/shop?initialSize=5", APP, 3306, Prefer),
        ("r2dbc:mysql://app:secret@db:3306/shop?sslMode=verify_identity", APP, 3306, Named),
        ("r2dbc:mysql://app:secret@db/shop?unixSocket={%socket}", APP, SOCKET, Prefer),
    ]),
    ("Go, go-sql-driver/mysql: DSN", &[
        ("app:secret@tcp(db:3306)/shop", APP, 3306, Prefer),
        ("app:secret@tcp(db)/shop", APP, 3306, Prefer),
        ("app:secret@tcp(db:3306)/shop?parseTime=true&loc=Local", APP, 3306, Prefer),
        ("app:p@ss:w/rd@tcp(db:3306)/shop?tls=false", ("app", "p@ss:w/rd", "shop"), 3306, Off),
        ("app:secret@tcp(db:3306)/shop?tls=true", APP, 3306, Named),
        ("app:secret@tcp(db:3306)/shop?tls=skip-verify", APP, 3306, Require),
        ("app:secret@tcp(db:3306)/shop?tls=preferred&autocommit=true", APP, 3306, Prefer),
        ("app:secret@tcp(db:3306)/shop?tls=custom&collation=utf8mb4_unicode_ci", APP, 3306, Named),
        ("app:secret@unix({socket})/shop?charset=utf8", APP, SOCKET, Prefer),
        ("app:secret@tcp(db:3306)/", ("app", "secret", ""), 3306, Prefer),
        ("app@tcp(db:3306)/shop", ("app", "", "shop"), 3306, Prefer),
        ("mysql://app:secret@tcp(db:3306)/shop?multiStatements=true", APP, 3306, Prefer),
        ("mysql://app:secret@db:/shop", APP, 3306, Prefer),
        ("id:p)/w@tcp(db:3306)/shop", ("id", "p)/w", "shop"), 3306, Prefer),
        ("id:p,ssl=w@tcp(db:3306)/shop", ("id", "p,ssl=w", "shop"), 3306, Prefer),
        ("id:host=p@tcp(db:3306)/shop", ("id", "host=p", "shop"), 3306, Prefer),
    ]),
    (".NET, MySqlConnector and Connector/NET: connection options", &[
        ("Server=db;Port=3306;Database=shop;Uid=app;Pwd=secret", APP, 3306, Prefer),
        ("server=db;port=3307;database=shop;user=app;password=secret", APP, 3307, Prefer),
        ("Server=db;User ID=app;Password=secret;Database=shop", APP, 3306, Prefer),
        ("Server=db;Database=shop;Uid=app;Pwd=secret;SslMode=Required", APP, 3306, Require),
        ("Server=db;Database=shop;Uid=app;Pwd=secret;SSL Mode=VerifyCA;SslCa={ca}", APP, 3306, Trusted),
        ("Server=db;Database=shop;Uid=app;Pwd=secret;SslMode=VerifyFull", APP, 3306, Named),
        ("Server=db;Database=shop;Uid=app;Pwd=secret;SslMode=None;", APP, 3306, Off),
        ("Server=db;Database=shop;Uid=app;Pwd='se;cr=et'", ("app", "se;cr=et", "shop"), 3306, Prefer),
        ("Server=db;Database=shop;Uid=app;Pwd=a@/b", ("app", "a@/b", "shop"), 3306, Prefer),
        ("Pwd=a@tcp(b)/c;Server=db;Database=shop;Uid=app", ("app", "a@tcp(b)/c", "shop"), 3306, Prefer),
        ("Data Source=db;Initial Catalog=shop;Uid=app;Pwd=\"secret\";AllowUserVariables=true", APP, 3306, Prefer),
        ("Server={socket};Protocol=unix;Database=shop;Uid=app;Pwd=secret", APP, SOCKET, Prefer),
    ]),
    ("Phoenix, Ecto.Adapters.MyXQL: DATABASE_URL", &[
        ("mysql://app:secret@db:3306/shop?pool_size=10", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop?ssl=true&pool_size=10", APP, 3306, Named),
    ]),
    ("MySQL Shell and the mysql client: URI-like connection strings", &[
        ("mysql://app:secret@db:3306/shop?ssl-mode=VERIFY_CA&ssl-ca={ca}", APP, 3306, Trusted),
        ("mysql://app:secret@db:3306/shop?ssl-mode=VERIFY_IDENTITY", APP, 3306, Named),
        ("mysql://app:secret@db/shop?ssl-mode=DISABLED", APP, 3306, Off),
        ("mysql://app:secret@db/shop?ssl-mode=PREFERRED", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop?socket={%socket}", APP, SOCKET, Prefer),
        ("mysql://app:secret@db/shop?ssl-verify-server-cert=true", APP, 3306, Named),
    ]),
    ("SQLAlchemy, PyMySQL: the name is checked with ssl_ca and ssl_capath", &[
        ("mysql+pymysql://app:secret@db/shop?ssl_ca={ca}", APP, 3306, Named),
        ("mysql+aiomysql://app:secret@db/shop?charset=utf8mb4&ssl_ca={ca}", APP, 3306, Named),
        ("mysql+pymysql://app:secret@db/shop?ssl_ca={ca}&ssl_check_hostname=false", APP, 3306, Trusted),
        ("mysql+pymysql://app:secret@db/shop?ssl_capath=/etc/ssl/certs", APP, 3306, Named),
        ("mysql+mysqldb://app:secret@db/shop?ssl_ca={ca}", APP, 3306, Trusted),
        ("mysql2://app:secret@db/shop?sslcapath=/etc/ssl/certs", APP, 3306, Trusted),
    ]),
    ("mysql_async, Opts", &[
        ("mysql://app:secret@db/shop?require_ssl=true", APP, 3306, Named),
        ("mysql://app:secret@db/shop?require_ssl=true&verify_identity=false", APP, 3306, Trusted),
        ("mysql://app:secret@db/shop?require_ssl=true&verify_ca=false", APP, 3306, Require),
        ("mysql://app:secret@db/shop?require_ssl=false", APP, 3306, Prefer),
    ]),
    ("r2dbc-mysql and MariaDB Connector/J, files of authorities", &[
        ("r2dbc:mysql://app:secret@db/shop?sslMode=verify_identity&sslCa={ca}", APP, 3306, Named),
        ("jdbc:mariadb://db/shop?user=app&password=secret&sslMode=verify-ca&serverSslCert={ca}", APP, 3306, Trusted),
    ]),
    ("Connector/J and MariaDB Connector/J, several hosts; of each the first port is closed", &[
        ("jdbc:mysql://db:1,db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:mysql:loadbalance://db:1,db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:mysql:replication://db:1,db:3306/shop?user=app&password=secret&sslMode=VERIFY_IDENTITY", APP, 3306, Named),
        ("jdbc:mysql://address=(host=db)(port=3307)(user=app)(password=secret)/shop", APP, 3307, Prefer),
        ("jdbc:mysql://address=(protocol=tcp)(host=db)(port=1),address=(host=db)/shop?user=app&password=secret", APP, 3306, Prefer),
        ("jdbc:mysql://(host=db,port=3307,user=app,password=secret)/shop?sslMode=REQUIRED", APP, 3307, Require),
        ("jdbc:mysql://app:secret@[db:1,db:3307]/shop", APP, 3307, Prefer),
        ("jdbc:mysql://app:secret@[(host=db,port=1),(host=db,port=3306)]/shop", APP, 3306, Prefer),
        ("jdbc:mariadb:sequential://db:1,db:3306/shop?user=app&password=secret", APP, 3306, Prefer),
        ("mysql://app:secret@db:1,db:3307/shop", APP, 3307, Prefer),
    ]),
    ("PHP, PDO_MYSQL DSN, which need not hold the login", &[
        ("mysql:host=db;port=3306;dbname=shop;user=app;password=secret", APP, 3306, Prefer),
        ("mysql:host=db;dbname=shop;user=app;password=a@/b", ("app", "a@/b", "shop"), 3306, Prefer),
        ("mysql:host=db;port=3306;dbname=shop#user=app&password-env=DB_PASSWORD", APP, 3306, Prefer),
        ("mysql:host=db;dbname=shop;charset=utf8mb4#user=app&password-env=DB_PASSWORD", APP, 3306, Prefer),
        ("mysql:unix_socket={socket};dbname=shop#user=app&password-env=DB_PASSWORD", APP, SOCKET, Prefer),
    ]),
    ("As people write them: cases, line ends, comments, odd names", &[
        ("MYSQL://app:secret@db/shop", APP, 3306, Prefer),
        ("MySQL://app:secret@DB:3306/shop", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop\r\n", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop\r", APP, 3306, Prefer),
        ("mysql://app:secret@db/shop\n", APP, 3306, Prefer),
        ("\"mysql://app:secret@db/shop\" # the database", APP, 3306, Prefer),
        ("mysql://app:se,cr,et@db/shop", ("app", "se,cr,et", "shop"), 3306, Prefer),
        ("mysql://app:secret@db/sh@op", ("app", "secret", "sh@op"), 3306, Prefer),
        ("mysql://app:secret@db/sh%40op", ("app", "secret", "sh@op"), 3306, Prefer),
        ("mysql://app:p@ss@db/shop", ("app", "p@ss", "shop"), 3306, Prefer),
        ("mysql://app:se:cret@db/shop", ("app", "se:cret", "shop"), 3306, Prefer),
        ("mysql://app@example.com:secret@db/shop", ("app@example.com", "secret", "shop"), 3306, Prefer),
        ("mysql://app:secret@db/", ("app", "secret", ""), 3306, Prefer),
        ("mysql://app:secret@db", ("app", "secret", ""), 3306, Prefer),
        ("mysql://app:secret@db.?x=1", ("app", "secret", ""), 3306, Prefer),
        ("mysql://app:secret@db/shop?host={socket}", APP, SOCKET, Prefer),
        ("mysql://:secret@db/shop?user=app", APP, 3306, Prefer),
        ("mysql://db/shop?password=secret&user=app", APP, 3306, Prefer),
        ("mysql://app:sec%20ret+@db/shop", ("app", "sec ret+", "shop"), 3306, Prefer),
    ]),
];

/// The servers that an address has at each port, by what is wrong with them.
pub const TRUSTED: u8 = 1;
pub const OTHER_NAME: u8 = 2;
pub const UNTRUSTED: u8 = 3;
pub const WITHOUT_TLS: u8 = 4;

/// A connection of any kind.
pub trait Connection: io::Read + io::Write + Send {}

impl<T: io::Read + io::Write + Send> Connection for T {}

/// A conversation that records the login.
pub type Record<S> =
    fn(Box<dyn Connection>, Option<Arc<ServerConfig>>, &mut dyn FnMut(S)) -> io::Result<()>;

/// The servers of a kind of target.
pub struct Protocol<S> {
    pub ports: &'static [u16],
    pub socket: &'static str,
    pub record: Record<S>,
}

const MYSQL: Protocol<Seen> = Protocol {
    ports: &[3306, 3307, 4000, 25060],
    socket: "mysqld.sock",
    record: |stream, config, seen| record(stream, config.map(secured), seen),
};

/// A server's end of TLS.
pub fn secured<S: io::Read + io::Write>(
    config: Arc<ServerConfig>,
) -> impl FnOnce(S) -> StreamOwned<ServerConnection, S> {
    move |stream| {
        let server = ServerConnection::new(config).expect("a connection");
        StreamOwned::new(server, stream)
    }
}

/// The servers, and what they have seen since the last look.
pub struct World<S> {
    protocol: Protocol<S>,
    seen: Arc<Mutex<Vec<(u16, S)>>>,
    networks: HashMap<u8, Arc<Network>>,
    folder: tempfile::TempDir,
    /// The network part of their addresses, which no other process has.
    net: [u8; 3],
}

impl<S: Send + 'static> World<S> {
    pub fn new(protocol: Protocol<S>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, others) = (Authority::new(), Authority::new());
        let certified = ours.certify(&["db", "localhost"]);
        for (name, pem) in [
            ("ca.pem", &certified.authority),
            ("cert.pem", &certified.certificate),
            ("key.pem", &certified.key),
        ] {
            std::fs::write(folder.path().join(name), pem).expect("written");
        }
        let mut random = fastrand::Rng::new();
        let mut world = Self {
            protocol,
            seen: Arc::default(),
            networks: HashMap::new(),
            folder,
            net: [127, random.u8(1..=254), random.u8(..)],
        };
        for (number, config) in [
            (TRUSTED, Some(tls(&certified))),
            (OTHER_NAME, Some(tls(&ours.certify(&["other"])))),
            (
                UNTRUSTED,
                Some(tls(&others.certify(&["db", "localhost", "other"]))),
            ),
            (WITHOUT_TLS, None),
        ] {
            let [a, b, c] = world.net;
            let hosts = world.folder.path().join(format!("hosts-{number}"));
            std::fs::write(
                &hosts,
                format!("{a}.{b}.{c}.{number} db DB localhost db.\n"),
            )
            .expect("written");
            let authorities = CertificateDer::from_pem_slice(certified.authority.as_bytes());
            let network = Network {
                names: Names {
                    resolv_conf: "/nonexistent".into(),
                    hosts,
                    port: 1,
                },
                roots: Roots::new(vec![authorities.expect("PEM")]),
            };
            world.networks.insert(number, Arc::new(network));
            for port in world.protocol.ports {
                let listener =
                    TcpListener::bind((Ipv4Addr::new(a, b, c, number), *port)).expect("a port");
                world.serve(*port, config.clone(), move || Ok(listener.accept()?.0));
            }
        }
        let listener = UnixListener::bind(world.socket()).expect("a socket");
        world.serve(SOCKET, None, move || Ok(listener.accept()?.0));
        world
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(self.protocol.socket)
    }

    fn serve<C: Connection + 'static>(
        &self,
        port: u16,
        config: Option<Arc<ServerConfig>>,
        accept: impl Fn() -> io::Result<C> + Send + 'static,
    ) {
        let (seen, record) = (Arc::clone(&self.seen), self.protocol.record);
        thread::spawn(move || {
            while let Ok(stream) = accept() {
                let (config, seen) = (config.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    let _ = record(Box::new(stream), config, &mut |login| {
                        seen.lock().expect("not poisoned").push((port, login));
                    });
                });
            }
        });
    }

    /// The text of a row with what it stands for.
    pub fn text(&self, row: &str) -> String {
        let socket = self.socket().display().to_string();
        let folder = self.folder.path().display().to_string();
        let row = ["ca", "cert", "key"]
            .iter()
            .fold(row.to_owned(), |row, name| {
                row.replace(&format!("{{{name}}}"), &format!("{folder}/{name}.pem"))
            });
        row.replace("{socket}", &socket)
            .replace("{%socket}", &socket.replace('/', "%2F"))
            .replace("{folder}", &folder)
            .replace("{%folder}", &folder.replace('/', "%2F"))
    }

    /// An attempt at a target over one of the networks, and the logins that servers have seen.
    pub async fn attempt(
        &self,
        target: &Target,
        number: u8,
    ) -> (Result<(), NotReady>, Vec<(u16, S)>) {
        let network = Arc::clone(&self.networks[&number]);
        let cx = Attempt::new(network, Overlap::default(), Stop::default());
        let result = timeout(Duration::from_secs(20), target.probe.attempt(&cx)).await;
        let seen = std::mem::take(&mut *self.seen.lock().expect("not poisoned"));
        (result.expect("an end"), seen)
    }
}

/// The targets in a variable of an application, and what is said about them.
pub fn understood(value: &str) -> Result<(Vec<Target>, Vec<String>), String> {
    let value = value.to_owned();
    let surroundings = Surroundings {
        variable: &|name| match name {
            "WAIT_HOSTS" => Some("env:DATABASE_URL".into()),
            "DATABASE_URL" => Some(OsString::from(&value)),
            "DB_PASSWORD" => Some("secret".into()),
            _ => None,
        },
        names: &Vec::new,
        file: &|path: &Path| std::fs::read(path),
        is_terminal: false,
    };
    let resolved = settings::resolve(&Cli::default(), &surroundings);
    let (config, notices) = resolved.map_err(|error| error.to_string())?;
    let notices = notices.into_iter().map(|Notice(text)| text);
    Ok((config.targets, notices.collect()))
}

/// Whether an application sends its password to a server.
fn sends(tls: Tls, server: u8) -> bool {
    match server {
        TRUSTED => true,
        OTHER_NAME => tls < Named,
        UNTRUSTED => tls < Trusted,
        _ => tls < Require,
    }
}

#[tokio::test]
async fn the_url_of_an_application_logs_in_as_the_application_would() {
    check_rows(MYSQL, ROWS, |(_, password, _)| answer_for(password)).await;
}

/// `answer_for` is the answer of a client that knows the password.
async fn check_rows(
    protocol: Protocol<Seen>,
    rows: &[(&str, &[Row])],
    answer_for: fn(&Login) -> Vec<u8>,
) {
    let world = World::new(protocol);
    let rows = || {
        rows.iter()
            .flat_map(|(source, rows)| rows.iter().map(move |row| (source, row)))
    };
    assert!(rows().count() >= 120, "{}", rows().count());
    let mut wrong = Vec::new();
    for (source, (row, login, port, tls)) in rows() {
        let (user, password, database) = login;
        let text = world.text(row);
        let mut check = |is_right: bool, words: String| {
            if !is_right {
                wrong.push(format!("{source}: {row}: {words}"));
            }
        };
        let targets = match understood(&text) {
            Ok((targets, _)) => targets,
            Err(error) => {
                check(false, error);
                continue;
            }
        };
        let [target] = &*targets else {
            check(false, format!("{targets:?}"));
            continue;
        };
        check(
            !target.to_string().contains("secret"),
            "its name".to_owned(),
        );
        let servers = match *port {
            SOCKET => &[WITHOUT_TLS][..],
            _ => &[TRUSTED, OTHER_NAME, UNTRUSTED, WITHOUT_TLS],
        };
        for server in servers {
            let (result, seen) = world.attempt(target, *server).await;
            let is_sent = *port == SOCKET || sends(*tls, *server);
            let is_right = |seen: &(u16, Seen)| seen.1.answer == answer_for(login);
            check(
                result.is_ok() == is_sent,
                format!("server {server}: {result:?}"),
            );
            if is_sent {
                let expected = Seen {
                    is_tls: *server != WITHOUT_TLS && *tls != Off,
                    user: (*user).to_owned(),
                    answer: answer_for(login),
                    database: (*database).to_owned(),
                };
                check(
                    seen == [(*port, expected)],
                    format!("server {server}: {seen:?}"),
                );
            } else {
                check(
                    !password.is_empty() && !seen.iter().any(is_right),
                    format!("server {server} has the password: {seen:?}"),
                );
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
}

#[test]
fn of_services_that_are_no_kind_the_port_is_checked() {
    for (url, target, scheme) in [
        // Phoenix, with a port that is no kind's
        ("ecto://app:secret@db:1433/shop", "db:1433", "ecto"),
        ("nats://user:secret@bus", "bus:4222", "nats"),
        ("ldap://dir", "dir:389", "ldap"),
        ("smtp://user:secret@mail", "mail:25", "smtp"),
        (
            "clickhouse://default:secret@ch/shop",
            "ch:9000",
            "clickhouse",
        ),
        (
            "jdbc:sqlserver://db:1434;databaseName=shop;user=sa;password=se@cret",
            "db:1434",
            "sqlserver",
        ),
        (
            "mssql+pyodbc://sa:secret@db/shop?driver=ODBC",
            "db:1433",
            "mssql",
        ),
        ("memcached://cache", "cache:11211", "memcached"),
        ("jdbc:h2:tcp://db/~/shop", "db:9092", "h2"),
        ("r2dbc:h2:ssl://db:9093/~/shop", "db:9093", "h2"),
        ("sqs://x:y@queue:9324//", "queue:9324", "sqs"),
        ("elasticsearch://search", "search:9200", "elasticsearch"),
        ("MQTT://broker", "broker:1883", "mqtt"),
    ] {
        let (targets, notices) = understood(url).expect(url);
        let names: Vec<_> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(names, [target], "{url}");
        let notice = format!("{target}: of {scheme}:// only the port is checked");
        assert_eq!(notices, [notice], "{url}");
    }
}

#[test]
fn a_database_in_a_file_has_nothing_to_wait_for() {
    // Prisma, SQLAlchemy, Rails, Sequelize, Symfony, Spring
    for (url, scheme) in [
        ("file:./dev.db", "file"),
        ("jdbc:h2:file:~/shop", "h2"),
        ("sqlite:///app.db", "sqlite"),
        ("sqlite::memory:", "sqlite"),
        ("sqlite+aiosqlite:///./test.db", "sqlite+aiosqlite"),
        ("sqlite3:db/development.sqlite3", "sqlite3"),
        ("jdbc:sqlite:/data/app.db", "sqlite"),
        ("jdbc:h2:mem:testdb", "h2"),
        ("r2dbc:h2:mem:///testdb", "h2"),
    ] {
        let (targets, notices) = understood(url).expect(url);
        assert!(targets.is_empty(), "{url}: {targets:?}");
        let notice = format!("{scheme}: a file database has nothing to wait for");
        assert_eq!(notices, [notice], "{url}");
    }
    // Celery's brokers.
    for (url, notice) in [
        (
            "memory://",
            "memory: a queue in memory has nothing to wait for",
        ),
        (
            "memory://localhost/",
            "memory: a queue in memory has nothing to wait for",
        ),
        (
            "sqs://",
            "sqs: a queue without a host has nothing to wait for",
        ),
        (
            "sqs://AKIA:se%2Fcret@",
            "sqs: a queue without a host has nothing to wait for",
        ),
    ] {
        assert_eq!(
            understood(url).map(|(targets, notices)| (targets.len(), notices)),
            Ok((0, vec![notice.to_owned()]))
        );
    }
    let (targets, _) = understood("file:80").expect("a host and its port");
    assert_eq!(targets[0].to_string(), "file:80");
}

/// A server on any port, and what it sees.
fn recording(config: Option<Arc<ServerConfig>>) -> (u16, Arc<Mutex<Vec<Seen>>>) {
    let port = Port::new();
    let (number, listener) = (port.number(), port.listener());
    let all = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&all);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let _ = record(stream, config.clone().map(secured), |login| {
                seen.lock().expect("not poisoned").push(login);
            });
        }
    });
    (number, all)
}

#[test]
fn a_password_does_not_go_to_a_server_that_the_application_would_have_refused() {
    let untrusted = Authority::new().certify(&["localhost"]);
    for words in [
        "sslaccept=strict",
        "ssl={\"rejectUnauthorized\":true}",
        "sslMode=VERIFY_IDENTITY",
        "ssl_mode=verify_ca",
        "sslmode=verify-full",
        "ssl_verify_cert=true",
        "ssl=true",
        "tls=true",
    ] {
        let (port, seen) = recording(Some(tls(&untrusted)));
        let outcome = wait()
            .var("WAIT_HOSTS", "env:DATABASE_URL")
            .var(
                "DATABASE_URL",
                format!("mysql://app:secret@localhost:{port}/shop?{words}"),
            )
            .var("WAIT_TIMEOUT", "0")
            .run();
        outcome.exits(1).says(&["tls_failed"]);
        let seen = seen.lock().expect("not poisoned");
        assert!(
            !seen
                .iter()
                .any(|login| login.answer == answer_for("secret")),
            "{words}: {seen:?}"
        );
    }
}

#[test]
fn the_program_logs_in_with_the_url_of_an_application() {
    let (port, seen) = recording(None);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let url = format!("mysql://app:se,cret@127.0.0.1:{port}/shop?pool=5");
    std::fs::write(file.path(), format!("{url}\n")).expect("written");
    for (name, value) in [
        ("DATABASE_URL", url.clone()),
        ("DATABASE_URL", format!("\"{url}\"")),
        (
            "DATABASE_URL",
            format!("app:se,cret@tcp(127.0.0.1:{port})/shop"),
        ),
        (
            "DATABASE_URL",
            format!("Server=127.0.0.1;Port={port};Database=shop;Uid=app;Pwd=se,cret"),
        ),
        ("DATABASE_URL_FILE", file.path().display().to_string()),
    ] {
        let outcome = wait()
            .var("WAIT_HOSTS", "env:DATABASE_URL")
            .var(name, &value)
            .var("WAIT_TIMEOUT", "0")
            .run();
        outcome
            .exits(0)
            .says(&[&format!("mysql://app@127.0.0.1:{port}/shop is ready")]);
        let expected = Seen {
            is_tls: false,
            user: "app".to_owned(),
            answer: answer_for("se,cret"),
            database: "shop".to_owned(),
        };
        let seen = std::mem::take(&mut *seen.lock().expect("not poisoned"));
        assert_eq!(seen, [expected], "{name}={value}");
        assert!(!outcome.stderr.contains("cret"), "{outcome:?}");
    }
}
