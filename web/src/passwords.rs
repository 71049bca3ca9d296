//! Argon2 off the async threads, a few at a time: hashing is slow on purpose, and a flood of sign-ins must
//! not take the machine from paying requests.

use crate::trouble::Trouble;
use accounts::password::{self, Cost, PasswordError};
use actix_web::web;
use kernel::{Entropy, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest wait for a turn before the visitor is asked to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    cost: Cost,
    turns: Arc<Semaphore>,
    entropy: Arc<dyn Entropy>,
}

impl Passwords {
    /// At most `parallel` hashes run at once.
    #[must_use]
    pub fn new(cost: Cost, parallel: usize, entropy: Arc<dyn Entropy>) -> Self {
        Self { cost, turns: Arc::new(Semaphore::new(parallel.max(1))), entropy }
    }

    /// Hashes a new password; the caller has checked it.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, Trouble> {
        let turn = self.turn().await?;
        let (cost, entropy) = (self.cost, Arc::clone(&self.entropy));
        let hashed = web::block(move || {
            let _turn = turn;
            password::hash(&password, cost, entropy.as_ref())
        });
        hashed.await.map_err(lost)?.map_err(|error: PasswordError| Trouble::Broken(error.to_string()))
    }

    /// Whether a password fits the stored hash. Without one it takes as long and is `false`.
    pub(crate) async fn verify(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<bool, Trouble> {
        let turn = self.turn().await?;
        let (cost, entropy) = (self.cost, Arc::clone(&self.entropy));
        let verified = web::block(move || {
            let _turn = turn;
            match stored {
                Some(stored) => password::verify(&password, &stored),
                None => {
                    password::verify_nothing(&password, cost, entropy.as_ref());
                    false
                }
            }
        });
        verified.await.map_err(lost)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_closed)) => Err(Trouble::Broken("the password queue is closed".to_owned())),
            Err(_elapsed) => Err(Trouble::Unavailable("too many sign-ins at once".to_owned())),
        }
    }
}

fn lost(error: actix_web::error::BlockingError) -> Trouble {
    Trouble::Unavailable(format!("a password was not hashed: {error}"))
}
