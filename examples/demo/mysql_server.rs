//! An embedded server that speaks as much of the MySQL protocol as a login needs: one account, one
//! database, and queries that return a row, no row or an error.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mysql_common::scramble::scramble_native;
use opensrv_mysql::{
    AsyncMysqlIntermediary, AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter,
    OkResponse, ParamParser, QueryResultWriter, StatementMetaWriter,
};
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;

/// The account and the database that the server knows.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: &'static str,
    pub password: &'static str,
    pub database: &'static str,
}

/// How connections have ended.
#[derive(Debug, Default)]
pub struct Ends {
    /// By the client's goodbye.
    pub goodbyes: AtomicUsize,
    /// By a login that the server refused, or without a goodbye.
    pub others: AtomicUsize,
}

/// Serves until its task is dropped.
pub async fn serve(listener: TcpListener, account: Account, ends: Arc<Ends>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (account, ends) = (account.clone(), Arc::clone(&ends));
        tokio::spawn(async move {
            let (reader, writer) = stream.into_split();
            let end = AsyncMysqlIntermediary::run_on(Session(account), reader, writer).await;
            let counter = if end.is_ok() {
                &ends.goodbyes
            } else {
                &ends.others
            };
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
}

struct Session(Account);

#[async_trait::async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Session {
    type Error = io::Error;

    async fn authenticate(&self, _: &str, user: &[u8], salt: &[u8], answer: &[u8]) -> bool {
        let expected = scramble_native(salt, self.0.password.as_bytes());
        user == self.0.user.as_bytes() && answer == expected.as_ref().map_or(&[][..], |s| s)
    }

    async fn on_init<'a>(
        &'a mut self,
        database: &'a str,
        reply: InitWriter<'a, W>,
    ) -> io::Result<()> {
        match database == self.0.database {
            true => reply.ok().await,
            false => {
                reply
                    .error(ErrorKind::ER_BAD_DB_ERROR, b"Unknown database")
                    .await
            }
        }
    }

    async fn on_query<'a>(
        &'a mut self,
        query: &'a str,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        let columns = [Column {
            table: String::new(),
            column: "n".to_owned(),
            coltype: ColumnType::MYSQL_TYPE_LONG,
            colflags: ColumnFlags::empty(),
        }];
        match query {
            "SELECT 1" => {
                let mut rows = results.start(&columns).await?;
                rows.write_col(1)?;
                rows.finish().await
            }
            "DO 0" => results.completed(OkResponse::default()).await,
            "SELECT 1 WHERE FALSE" => results.start(&columns).await?.finish().await,
            _ => {
                results
                    .error(ErrorKind::ER_PARSE_ERROR, b"You have an error")
                    .await
            }
        }
    }

    async fn on_prepare<'a>(
        &'a mut self,
        _: &'a str,
        _: StatementMetaWriter<'a, W>,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn on_execute<'a>(
        &'a mut self,
        _: u32,
        _: ParamParser<'a>,
        _: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn on_close(&mut self, _: u32) {}
}
