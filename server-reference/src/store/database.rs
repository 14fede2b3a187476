//! The database: connecting, and making its tables.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, Transaction,
};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::clock::unix_micros;
use crate::config;

/// The tables of each version; a version adds to those before it.
const SQLITE: [&str; 1] = [include_str!("sql/sqlite_1.sql")];
const POSTGRES: [&str; 1] = [include_str!("sql/postgres_1.sql")];

/// Held while the tables are made, in PostgreSQL; the same number in all versions.
const MIGRATION_LOCK: i64 = 0x7469_6469_6e67_7301;

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or refuses something.
    #[error("the database {url} cannot be used: {source}; {advice}")]
    Failed {
        /// Where it should be, without a password.
        url: String,
        /// What to do.
        advice: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// A newer server has made its tables.
    #[error(
        "the database {url} has the tables of version {found}, and this server knows {known}: a \
         newer server has used it; run that one, or restore a backup from before"
    )]
    Newer {
        /// Where it is, without a password.
        url: String,
        /// The version of its tables.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// It did not answer.
    #[error(
        "the database {url} did not answer within {limit:?} (store.timeout); see whether it is busy"
    )]
    Timeout {
        /// Where it is, without a password.
        url: String,
        /// How long was waited.
        limit: Duration,
    },
    /// A row is not what a server has written.
    #[error("what the database has cannot be read: {0}")]
    Unreadable(#[from] sqlx::Error),
    /// Nothing is kept.
    #[error("nothing is kept here: set store.database (--database) and store.{0} = true")]
    NotKept(&'static str),
}

impl StoreError {
    /// Whether the database may yet be there: what else is wrong is for people to mend.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Failed { source, .. } => may_pass(source),
            Self::Newer { .. } | Self::Unreadable(_) | Self::NotKept(_) => false,
            Self::Timeout { .. } => true,
        }
    }
}

fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => {
            !matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound)
        }
        sqlx::Error::PoolTimedOut => true,
        // PostgreSQL is starting, stopping or has too many connections; SQLite is locked.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["57P01", "57P02", "57P03", "53300", "5", "6", "261"].contains(&&*code)
        }),
        _ => false,
    }
}

/// Which kind of database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// A database with the tables of this version, as soon as it has been reached.
pub(super) struct Database {
    pub(super) kind: Kind,
    pool: AnyPool,
    options: AnyConnectOptions,
    /// What each connection is told first.
    settings: Option<String>,
    /// Without a password.
    shown: String,
    timeout: Duration,
    /// Set when the tables are there.
    migrated: OnceCell<()>,
}

impl Database {
    /// The database that `config` names. Nothing is connected yet.
    pub(super) fn new(config: &config::Store) -> Result<Self, StoreError> {
        // Fails when the application has installed drivers itself, which it then needs to have done
        // for these, too.
        let _ =
            sqlx::any::install_drivers(&[sqlx::sqlite::any::DRIVER, sqlx::postgres::any::DRIVER]);
        let shown = config.database.to_string();
        let mut url = config.database.reveal().to_owned();
        let kind = if url.starts_with("sqlite:") { Kind::Sqlite } else { Kind::Postgres };
        let is_in_memory = url.contains(":memory:") || url.contains("mode=memory");
        if kind == Kind::Sqlite && !is_in_memory && !url.contains("mode=") {
            url.push_str(if url.contains('?') { "&mode=rwc" } else { "?mode=rwc" });
        }
        let options: AnyConnectOptions = url.parse().map_err(|source| StoreError::Failed {
            url: shown.clone(),
            advice: URL,
            source,
        })?;
        // Statements of many rows are nothing for a log.
        let options = options.disable_statement_logging();
        // Shorter than what all has to be done in: why there is no connection is asked for when the
        // pool has none, and it is the better thing to say.
        let mut pool = AnyPoolOptions::new().acquire_timeout(config.timeout * 9 / 10);
        pool = if is_in_memory {
            // Each connection would have a database of its own, and take it with it.
            pool.max_connections(1).idle_timeout(None).max_lifetime(None)
        } else {
            pool.max_connections(u32::try_from(config.connections).unwrap_or(u32::MAX))
        };
        let settings = (kind == Kind::Sqlite).then(|| {
            format!(
                "PRAGMA busy_timeout = {}; PRAGMA auto_vacuum = INCREMENTAL; \
                 PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
                config.timeout.as_millis()
            )
        });
        let told = settings.clone();
        pool = pool.after_connect(move |connection, _| {
            let settings = told.clone();
            Box::pin(async move { tell(connection, settings).await })
        });
        let pool = pool.connect_lazy_with(options.clone());
        let timeout = config.timeout;
        Ok(Self { kind, pool, options, settings, shown, timeout, migrated: OnceCell::new() })
    }

    /// The word for its kind.
    pub(super) const fn kind_word(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "sqlite",
            Kind::Postgres => "postgres",
        }
    }

    /// Does something with the database, in no more time than it may take. The tables are there.
    pub(super) async fn within<T>(
        &self,
        what: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.migrated.get_or_try_init(|| self.migrate()).await?;
        self.in_time(what).await
    }

    async fn in_time<T>(
        &self,
        what: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.timeout, what).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(sqlx::Error::PoolTimedOut)) => Err(self.why_not().await),
            Ok(Err(source)) => Err(self.failed(source)),
            Err(_elapsed) => Err(self.too_slow()),
        }
    }

    pub(super) fn too_slow(&self) -> StoreError {
        StoreError::Timeout { url: self.shown.clone(), limit: self.timeout }
    }

    /// For reading.
    pub(super) const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins to write.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.kind {
            // Whoever reads first and writes then is refused if somebody else wrote in between.
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => self.pool.begin().await,
        }
    }

    /// Why no connection can be had: the pool does not tell.
    async fn why_not(&self) -> StoreError {
        let connect = async {
            let mut connection = AnyConnection::connect_with(&self.options).await?;
            tell(&mut connection, self.settings.clone()).await
        };
        match timeout(self.timeout, connect).await {
            Ok(Err(source)) => self.failed(source),
            Ok(Ok(())) | Err(_) => self.too_slow(),
        }
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        let advice = match self.kind {
            Kind::Sqlite => SQLITE_FILE,
            Kind::Postgres => match source.as_database_error().and_then(|error| error.code()) {
                Some(code) if code.starts_with("28") => POSTGRES_USER,
                Some(code) if code == "3D000" => POSTGRES_DATABASE,
                _ => POSTGRES_SERVER,
            },
        };
        StoreError::Failed { url: self.shown.clone(), advice, source }
    }

    /// Connects, and makes the tables that are not there. Of several servers that do so at once one
    /// comes first, and the others find them.
    pub(super) async fn open(&self) -> Result<(), StoreError> {
        self.migrated.get_or_try_init(|| self.migrate()).await.map(|_| ())
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let versions: &[&'static str] = match self.kind {
            Kind::Sqlite => &SQLITE,
            Kind::Postgres => &POSTGRES,
        };
        let found = self.in_time(self.migrate_to(versions)).await?;
        let known = versions.len() as i64;
        if found > known {
            return Err(StoreError::Newer { url: self.shown.clone(), found, known });
        }
        Ok(())
    }

    /// The version of the tables that there are then.
    async fn migrate_to(&self, versions: &[&'static str]) -> Result<i64, sqlx::Error> {
        let mut transaction = self.begin().await?;
        if self.kind == Kind::Postgres {
            let lock = "SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked";
            sqlx::query(lock).bind(MIGRATION_LOCK).execute(&mut *transaction).await?;
        }
        let table = "CREATE TABLE IF NOT EXISTS tidings_store_versions \
                     (version BIGINT NOT NULL PRIMARY KEY, since_ms BIGINT NOT NULL)";
        sqlx::query(table).execute(&mut *transaction).await?;
        let newest = "SELECT coalesce(max(version), 0) FROM tidings_store_versions";
        let found: i64 = sqlx::query_scalar(newest).fetch_one(&mut *transaction).await?;
        let known = usize::try_from(found).unwrap_or(usize::MAX);
        for (before, tables) in versions.iter().enumerate().skip(known) {
            transaction.execute(sqlx::raw_sql(*tables)).await?;
            sqlx::query("INSERT INTO tidings_store_versions (version, since_ms) VALUES ($1, $2)")
                .bind(before as i64 + 1)
                .bind(now_ms())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(found.max(versions.len() as i64))
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Makes the settings of a connection.
async fn tell(connection: &mut AnyConnection, settings: Option<String>) -> Result<(), sqlx::Error> {
    if let Some(settings) = settings {
        connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
    }
    Ok(())
}

const URL: &str = "write sqlite:tidings.db, sqlite::memory: or postgres://USER@HOST/DATABASE \
                   (store.database)";
const SQLITE_FILE: &str = "see that the directory is there and may be written to, has \
                           room, and that the file is an SQLite database (store.database)";
const POSTGRES_USER: &str = "see that the user may log in: the password goes into the URL, PGPASSWORD \
                             or PGPASSFILE";
const POSTGRES_DATABASE: &str = "make it with createdb, or name another (store.database)";
const POSTGRES_SERVER: &str =
    "see that PostgreSQL runs there, can be reached and is not full (store.database)";

/// Milliseconds since the Unix epoch, as databases count.
pub(super) fn now_ms() -> i64 {
    number(unix_micros() / 1000)
}

/// Databases have no unsigned numbers.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
