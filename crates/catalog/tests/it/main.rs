//! The catalog as its users see it: the seed, the public JSON, the diff.

#[cfg(test)]
mod diff;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod refs;
#[cfg(test)]
mod seed;
#[cfg(test)]
mod wire;
