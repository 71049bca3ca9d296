//! Named places at which a test lets a process die, to prove that nothing is lost or doubled there.
//!
//! Only debug builds have them: in a release a point is nothing, and nothing can set one off.

#[cfg(debug_assertions)]
static HOOK: std::sync::OnceLock<Hook> = std::sync::OnceLock::new();

/// What happens at a point; it gets the point's name.
pub type Hook = Box<dyn Fn(&'static str) + Send + Sync>;

/// Sets what happens at points, once a process. Only the executable does.
#[cfg(debug_assertions)]
pub fn install(hook: Hook) {
    let _set_before = HOOK.set(hook);
}

/// A place at which the process may be made to die.
#[cfg(debug_assertions)]
#[inline]
pub fn point(name: &'static str) {
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
}

/// A place at which a debug build may be made to die.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &'static str) {}
