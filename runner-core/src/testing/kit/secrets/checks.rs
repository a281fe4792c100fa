//! What a provider promises, each alone. No message of a check holds a value either.

use super::{CANARY, Stage};
use crate::{
    Error,
    error::ErrorKind,
    secret::{ResolvedSecret, Secret},
    spec::SecretReference,
    testing::kit::run::{
        Clause, Miss, OrFail, POLLS, Verdict, all, chain, drop_after, ensure, fail, skip,
    },
};

pub(super) fn clauses() -> Vec<Clause<Stage>> {
    vec![
        Clause::new("a known secret has its value", known),
        Clause::new("a value that was put comes back exactly", exact),
        Clause::new("asking again gives the same", repeatable),
        Clause::new("many may ask at once", at_once),
        Clause::new("a question that was dropped can be asked again", dropped),
        Clause::new("a reference to a version gets that version or an error", pinned),
        Clause::new("a version that is told can be asked for", told_version),
        Clause::new("what is not there is not found", missing),
        Clause::new("the error of what is not there names it", names_missing),
        Clause::new("a name that no store takes is refused", hostile),
        Clause::new("no error holds a value", errors_are_clean),
    ]
}

async fn known(stage: Stage) -> Verdict {
    if stage.ground.known.is_empty() {
        return skip("no known secret was given");
    }
    for (reference, value) in &stage.ground.known {
        let resolved = resolve(&stage, reference).await?;
        ensure_value(&resolved, value, &format!("`{reference}`"))?;
    }
    Ok(())
}

async fn exact(stage: Stage) -> Verdict {
    let long = "0123456789abcdef".repeat(256);
    for (number, value) in
        ["plain", " spaces ", "two\nlines", "\"'$`\\=%;", "ä 漢 \u{1f511}", "\t", &long]
            .into_iter()
            .enumerate()
    {
        let value = Secret::new(value);
        let (reference, _) = stage.put(&format!("conformance-exact-{number}"), &value)?;
        let resolved = resolve(&stage, &reference).await?;
        ensure_value(&resolved, &value, &format!("value {number} of the check"))?;
    }
    Ok(())
}

async fn repeatable(stage: Stage) -> Verdict {
    let (reference, value) = stage.any()?;
    let first = resolve(&stage, &reference).await?;
    for _ in 0..3 {
        let again = resolve(&stage, &reference).await?;
        ensure_value(&again, &first.value, "the second answer")?;
        ensure(again.version == first.version, || {
            format!("version {:?} has become {:?}", first.version, again.version)
        })?;
    }
    ensure_value(&first, &value, "the first answer")
}

async fn at_once(stage: Stage) -> Verdict {
    let (reference, value) = stage.any()?;
    let questions = (0..32).map(|_| stage.ground.provider.resolve(&reference)).collect();
    for answer in all(questions).await {
        ensure_value(&answer.or_fail("one of many questions")?, &value, "one of many answers")?;
    }
    Ok(())
}

async fn dropped(stage: Stage) -> Verdict {
    let (reference, value) = stage.any()?;
    for polls in POLLS {
        let question = stage.ground.provider.resolve(&reference);
        drop(drop_after(&*stage.ground.clock, polls, question).await);
        let resolved = resolve(&stage, &reference).await?;
        ensure_value(&resolved, &value, &format!("the answer after one dropped at {polls} polls"))?;
    }
    Ok(())
}

/// Another version than the one asked for is the one wrong answer; any error is honest.
async fn pinned(stage: Stage) -> Verdict {
    let (reference, value) = stage.any()?;
    let nonsense = reference.clone().at_version("conformance-no-such-version");
    ensure(stage.ground.provider.resolve(&nonsense).await.is_err(), || {
        "a version that is not there is answered with another".to_owned()
    })?;
    if let Some(version) = resolve(&stage, &reference).await?.version {
        let pinned = reference.at_version(version.as_str());
        if let Ok(resolved) = stage.ground.provider.resolve(&pinned).await {
            ensure_value(&resolved, &value, "the pinned version")?;
        }
    }
    if stage.ground.put.is_none() {
        return Ok(());
    }
    let (old, new) = (Secret::new("old-value-of-two"), Secret::new("new-value-of-two"));
    let (reference, first) = stage.put("conformance-versions", &old)?;
    stage.put("conformance-versions", &new)?;
    ensure_value(&resolve(&stage, &reference).await?, &new, "the newest of two")?;
    let Some(first) = first else { return Ok(()) };
    match stage.ground.provider.resolve(&reference.at_version(first.as_str())).await {
        Ok(resolved) => ensure_value(&resolved, &old, "the older of two"),
        Err(_) => Ok(()),
    }
}

async fn told_version(stage: Stage) -> Verdict {
    let (reference, value) = stage.any()?;
    let Some(version) = resolve(&stage, &reference).await?.version else {
        return skip("the store has no versions");
    };
    let pinned = resolve(&stage, &reference.at_version(version.as_str())).await?;
    ensure(pinned.version.as_ref() == Some(&version), || {
        format!("asked for version {version} it tells version {:?}", pinned.version)
    })?;
    ensure_value(&pinned, &value, "the version that was told")
}

async fn missing(stage: Stage) -> Verdict {
    match stage.ground.provider.resolve(&stage.ground.missing).await {
        Ok(_) => fail("it has a value"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => fail(format!("it is refused as {:?}: {error}", error.kind())),
    }
}

async fn names_missing(stage: Stage) -> Verdict {
    let missing = &stage.ground.missing;
    match stage.ground.provider.resolve(missing).await {
        Ok(_) => skip("it has a value"),
        Err(error) => ensure(error.to_string().contains(&missing.name), || {
            format!("`{}` is not named by: {error}", missing.name)
        }),
    }
}

async fn hostile(stage: Stage) -> Verdict {
    for name in hostile_names() {
        let answer = stage.ground.provider.resolve(&SecretReference::new(name.clone())).await;
        let shown: String = name.chars().take(20).collect();
        match answer {
            Ok(_) => return fail(format!("`{}` has a value", shown.escape_debug())),
            Err(error) if error.kind() == ErrorKind::Bug => {
                return fail(format!("`{}` is answered as a bug: {error}", shown.escape_debug()));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

async fn errors_are_clean(stage: Stage) -> Verdict {
    let mut values: Vec<Secret> = stage.ground.known.iter().map(|(_, v)| v.clone()).collect();
    let mut references: Vec<_> = stage.ground.known.iter().map(|(r, _)| r.clone()).collect();
    if stage.ground.put.is_some() {
        let value = Secret::new(CANARY);
        references.push(stage.put("conformance-clean", &value)?.0);
        values.push(value);
    }
    let mut asked = vec![stage.ground.missing.clone()];
    asked.extend(hostile_names().into_iter().map(SecretReference::new));
    for reference in references {
        // Names beside a name that is there: what a look-up may find by mistake and then show.
        let name = &reference.name;
        asked.extend(
            [format!("{name}/x"), format!("{name}\0"), format!(" {name}"), name.to_uppercase()]
                .map(SecretReference::new),
        );
        asked.push(reference.at_version("conformance-no-such-version"));
    }
    for reference in asked {
        let Err(error) = stage.ground.provider.resolve(&reference).await else { continue };
        for value in &values {
            ensure(!leaks(&error, value.expose(), &reference), || {
                let shown: String = reference.name.chars().take(20).collect();
                format!("the error about `{}` holds a value or part of it", shown.escape_debug())
            })?;
        }
    }
    Ok(())
}

/// Whether any text of the error, or of what lies beneath it, holds the value or a part of it
/// that is long enough to be no accident. What the reference itself says is not a leak.
fn leaks(error: &Error, value: &str, reference: &SecretReference) -> bool {
    let mut texts = chain(error);
    texts.push(format!("{error:?}"));
    let chars: Vec<char> = value.chars().collect();
    let part_len = PART.min(chars.len());
    if part_len < 4 {
        return false;
    }
    chars.windows(part_len).map(|part| part.iter().collect::<String>()).any(|part| {
        !reference.name.contains(&part) && texts.iter().any(|text| text.contains(&part))
    })
}

fn hostile_names() -> Vec<String> {
    let names = ["", "conformance\0nul", "../../../../etc/passwd", "/etc/passwd", "a=b", "\n"];
    names.into_iter().map(str::to_owned).chain(["x".repeat(10_000)]).collect()
}

async fn resolve(stage: &Stage, reference: &SecretReference) -> Result<ResolvedSecret, Miss> {
    stage.ground.provider.resolve(reference).await.or_fail("a known secret")
}

fn ensure_value(resolved: &ResolvedSecret, value: &Secret, what: &str) -> Verdict {
    ensure(resolved.value.expose() == value.expose(), || format!("{what} is not the value"))
}

/// How much of a value is too much.
const PART: usize = 8;
