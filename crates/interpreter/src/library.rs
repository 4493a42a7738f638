//! What a program finds by name: builtin functions, methods of the builtin types, standard modules.

pub mod builtins;
pub mod methods;
pub mod modules;
