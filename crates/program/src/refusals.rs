//! What is refused of a request itself: said when it comes, and by whoever would run it.

/// Returns why an argument of `model.generate(…)` is refused, whatever it is.
#[must_use]
pub fn of_generate(name: &str) -> Option<&'static str> {
    match name {
        "streamer" => Some(
            "`streamer` is not supported by this server's generate(): tokens are at `model.generator.streamer.output` as \
             they come",
        ),
        "max_time" => Some("`max_time` is not supported by this server: a result must not depend on who else computes"),
        _ => None,
    }
}

/// Returns why an argument of `model.pipe(…)` is refused, whatever it is.
#[must_use]
pub fn of_pipe(name: &str) -> Option<String> {
    matches!(name, "prefix" | "return_type")
        .then(|| format!("`{name}` of model.pipe() is not supported by this server"))
}

/// Names what the client sends by its name alone, where `module` is the program itself: what `functools.cache` makes of a
/// function, for instance.
#[must_use]
pub fn by_name_alone(module: &str, name: &str) -> Option<String> {
    (module == "__main__").then(|| {
        format!("{name} of your program, of which the client sends nothing but the name (define it in the block),")
    })
}

/// Says that this server knows a function, and one of its arguments not.
#[must_use]
pub fn argument(function: &str, argument: &str) -> String {
    format!("{function}(): argument '{argument}' is not supported by this server")
}
