//! All that is known of each service, when somebody asks for it by a signal.

use std::{convert::Infallible, future::Future, io, time::Duration};

use runner_examples::screen::{Stage, Tone};
use runner_platform::Platform;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// Says it at each SIGUSR1, for ever.
pub(crate) fn when_asked(
    platform: Platform,
    stage: Stage,
) -> io::Result<impl Future<Output = Infallible>> {
    let mut asked = signal(SignalKind::user_defined1())?;
    Ok(async move {
        loop {
            if asked.recv().await.is_none() {
                return std::future::pending().await;
            }
            for name in platform.list().await.unwrap_or_default() {
                // One that is stuck is what is looked for.
                match timeout(PATIENCE, platform.dump(name.as_str())).await {
                    Ok(Ok(dump)) => {
                        let text =
                            serde_json::to_string(&dump).unwrap_or_else(|error| error.to_string());
                        stage.say(&*format!("{name}: {text}"));
                    }
                    Ok(Err(error)) => stage.say_in(Tone::Bad, &format!("{name}: {error}")),
                    Err(_) => stage.say_in(Tone::Bad, &format!("{name}: no answer from its task")),
                }
            }
        }
    })
}

/// How long a service may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);
