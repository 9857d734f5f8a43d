"""What jobs, services and data reports tell as they go, as the catalogues know it.

A test holds it against the code: whoever lets them tell something new writes it here, and its translations.
"""


def _(text: str) -> str:
    """Marks a text for the catalogues."""
    return text


TOLD = (
    # what a job tells
    _("The job is queued."),
    _("The job is queued again and goes on from %(where)s."),
    _("what it has computed"),
    _("step %(step)s"),
    _("its beginning"),
    _("what it has computed is kept"),
    _("It did not begin in time."),
    _("It was not started after all and is queued again."),
    _("What this attempt wrote into %(folder)s is gone or not its own."),
    _("Attempt %(number)s starts."),
    _("Its wrapper gave no sign for %(seconds)s seconds, but lives."),
    _("%(why)s It was restarted %(number)s times without getting further."),
    _("It goes on from %(where)s in %(seconds)s seconds."),
    _("Its processes vanished: they were killed, or the machine was restarted."),
    _("It was killed by %(signal)s."),
    _("The system does that when memory runs out."),
    _("It was stopped from outside, and saved its state."),
    _("It ended with the exit code %(number)s."),
    _("%(how)s Its last words: %(last)s"),
    _("%(program)s cannot be started: %(reason)s."),
    _("The run is finished, but its results cannot be copied to %(path)s: %(why)s"),
    _("%(field)s: %(path)s is not read; the sample set shipped with quickalign stands for it."),
    _("%(field)s: %(path)s is read in place of %(uri)s, by the server's mirror table."),
    # why a job waits
    _("The operator lets no %(device)s job start (cpu_jobs=0)."),
    _("It needs %(needed)s GB, and what is free is less."),
    _("%(number)s of %(total)s %(device)s job slots are taken; those before it go first."),
    _("The cluster has no room for it yet."),
    _("The Ray cluster was told to start it."),
    _("No node of the Ray cluster has %(wanted)s free now."),
    _("None of the %(number)s nodes of the Ray cluster has %(wanted)s; it waits for one that has."),
    _("The Ray cluster did not start it: %(why)s"),
    _("%(folder)s is not there on this node: the home must lie on a disk that all nodes share."),
    # what a run tells
    _("%(ok)s rows can be used, %(bad)s cannot; the format is %(format)s."),
    _("%(number)s steps of %(rows)s rows; %(needed)s of %(available)s GB."),
    _("Validation at step %(step)s: loss %(loss)s%(accuracy)s."),
    _(", accuracy %(number)s"),
    _("Step %(step)s is saved."),
    _("The run is finished at step %(step)s."),
    _("Going on from step %(step)s (%(folder)s)."),
    _("This run was finished already; %(folder)s stays as it is."),
    _("%(name)s is this export already and stays as it is."),
    _("%(name)s is an adapter; training starts from it, merged into its base."),
    _("Base weights: %(bytes)s bytes (%(number)s GB%(stored)s). Trained: %(total)s parameters."),
    _(", 4-bit NF4 with double quantisation"),
    _("Rows are padded, not packed: %(why)s."),
    _("packing is switched off"),
    _("packed rows fail with %(name)s: %(reason)s"),
    _("packed rows give other log-probs than plain ones with %(name)s (off by %(number)s)"),
    _("the attention of %(name)s takes no mask of packed rows"),
    _("the model drops attention weights (%(name)s=%(value)s)"),
    _("the model caps attention scores (attn_logit_softcapping=%(value)s)"),
    _("the model's rotary embedding (%(name)s) depends on the longest row of a batch"),
    _("the model has layers of %(name)s"),
    _("the model's sliding window of %(number)s tokens is shorter than a row of %(total)s"),
    _("attention with dropout cannot be packed"),
    _("attention with %(name)s cannot be packed"),
    _("%(architecture)s has layers of %(name)s attention, which take no mask of packed rows"),
    _("The reference cache %(folder)s is full; nothing is added to it in this run."),
    _("Passes cannot be recorded as CUDA graphs and run as they are, with the same results: %(reason)s"),
    _("Step %(step)s was skipped: the fp16 loss scale was too high and is halved."),
    _(
        "At step %(step)s the chosen answers are %(number)s nats less likely than under the reference and "
        "still falling, while the margin grows: the model learns to avoid both answers (likelihood "
        "displacement). Remedies: sft_weight=0.1, a lower learning_rate, a higher dpo_beta, or "
        "loss_type=dpop or apo_zero."
    ),
    _("%(number)s of %(total)s sample answers %(what)s, first the one to %(prompt)s."),
    _("repeat themselves after training"),
    _("are empty after training"),
    _("had not ended when the limit of tokens was reached"),
    _("The closing evaluation could not be made: %(kind)s: %(reason)s"),
    _(
        "On %(number)s rows of the sample set the chosen answer is the likelier one in %(share)s of cases; "
        "perplexity %(perplexity)s%(before)s."
    ),
    _(" (base: %(base)s)"),
    _("The tasks of lm-eval were finished by an earlier call and are not run again."),
    _(
        "Largest difference of an answer's log-probability: %(largest)s nats, %(each)s nats per token (limit "
        "%(limit)s) over %(number)s rows%(same)s."
    ),
    _("; %(number)s of %(total)s greedy answers are the same"),
    _("The base that was trained on cannot be had, so nothing is compared with it: %(why)s"),
    _("%(path)s holds other weights than were trained on, so nothing is compared with them."),
    # what phases say
    _("answers before training"),
    _("answers after training"),
    _("log-probs of all rows under the model as it is"),
    _("%(number)s prompts"),
    _("%(number)s rows"),
    _("%(number)s rows before the merge"),
    _("%(number)s rows of what was stored"),
    _("stored in %(form)s"),
    _("serving %(name)s"),
    # what an estimate offers
    _("Recomputes activations; takes about a third more time."),
    _("The same optimiser batch in smaller pieces; the result stays the same."),
    _("Smaller packed micro-batches; the result stays the same."),
    _("Trains an adapter on a 4-bit base instead of all weights."),
    _("Keeps the base in 4 bits."),
    _("Cuts fewer than %(share)s of the rows more than now."),
    _("A smaller model of the same family."),
    # where a run cannot be
    _("This run needs about %(needed)s of memory, and %(device)s has %(available)s for it."),
    _("These settings would fit: %(settings)s."),
    _("No setting was found that would fit; take a smaller model or a larger machine."),
    _("This run writes up to %(needed)s, and %(free)s are free at its output."),
    _("Take a larger machine, or a smaller model."),
    _("Name an --output with more room, or set save_total_limit=1."),
    # what a data report tells
    _("data_format=%(format)s was given."),
    _("%(number)s of the first %(total)s rows have the fields %(fields)s."),
    _("Only the first %(number)s of %(total)s bad rows are listed."),
    _("1 row has"),
    _("%(number)s rows have"),
    _("%(count)s the same text as chosen and rejected: nothing is learnt from it."),
    _("%(count)s the opposite preference of an earlier row with the same prompt and answers; the two cancel out."),
    _("%(count)s exactly what an earlier row has, and counts twice."),
    _(
        "seq_length=%(length)s cuts %(number)s of %(total)s examples (%(share)s); %(most)s keeps 95 %% of "
        "them whole, %(all)s all."
    ),
    _(
        "The longest row has %(number)s tokens at seq_length=%(length)s, and the model was made for %(bound)s at "
        "most: `plan` and `train` refuse that; set seq_length to %(most)s or less."
    ),
    _("%(count)s nothing left of the last question at seq_length=%(length)s."),
    _("%(count)s an answer without its end token, which does not teach the model to stop."),
    _(
        "The %(which)s answer is the longer one in %(share)s of the pairs (mean %(chosen)s tokens chosen, "
        "%(rejected)s rejected): the model will also learn to write %(change)s answers."
    ),
    _("chosen"),
    _("rejected"),
    _("longer"),
    _("shorter"),
    _("%(count)s an answer that ends with the end token as text; one is kept."),
    _("%(count)s a prompt that begins with the begin token as text; one is kept."),
    _(
        "%(count)s marks of the model as text, such as %(text)s, and the model reads them as marks: rows that were "
        "rendered before need apply_chat_template=false."
    ),
    _("Nothing of the fields %(fields)s is used, which other tools train on."),
    _("%(count)s an answer that the chat template writes differently (its own rules)."),
    _(
        "%(number)s of %(total)s validation examples are in the training data too: figures on them say nothing "
        "about new data."
    ),
    _("The model was trained on %(number)s of these %(total)s examples: figures on them say little."),
    _(
        "system_prompt is empty, and the chat template then writes its own system message into rows that "
        "bring none: %(text)s."
    ),
    _("The chat template writes no end token behind an answer: the model is not taught to stop."),
    # what a service tells
    _("A replica of revision %(number)s starts."),
    _("A replica of revision %(number)s is gone."),
    _("A replica of revision %(number)s ended. %(why)s"),
    _("It was started %(number)s times and never got ready."),
    _("A replica of revision %(number)s is ready after %(seconds)s seconds: %(engine)s, %(precision)s."),
    _("The service is running: revision %(number)s answers."),
    _("Nobody asked it anything for %(seconds)s seconds; it starts with the next request."),
    _("A request came, and the service starts again."),
    _("A replica needs %(needed)s GB, and %(free)s GB are free"),
    _("%(why)s; it starts when jobs or services end."),
    _("The service is deleted: %(number)s processes, its ports, memory and files are gone."),
    _("A replica was not started after all, and waits again."),
    _("It was not ready within %(seconds)s seconds."),
    _("It missed %(number)s health checks in a row and was killed."),
    _("%(message)s Revision %(number)s is wanted."),
    _("A rollback was asked for."),
    _("An update was asked for."),
    _("%(number)s replicas are wanted, %(total)s were."),
    _("The service is pending."),
    _("Its own token is another one now."),
    _("The token %(name)s was made."),
    _("The token %(name)s was revoked."),
    # what a service proves
    _("template and end token"),
    _("base weights"),
    _("greedy answers"),
    _("streamed answer"),
    _("The model was not trained here; its own template is used."),
    _("%(number)s prompts are the same ids; %(ids)s end answers.%(further)s"),
    _(" The system prompt is another one."),
    _("%(text)s is %(ids)s here and %(others)s in training."),
    _("%(id)s ends answers in training and is no end here."),
    _("There is no adapter.%(further)s"),
    _("The adapter was not trained here and names no fingerprint."),
    _("The fingerprint is the training's: %(fingerprint)s.%(further)s"),
    _(" Trained weights, tokenizer and template are as they were saved."),
    _(" The trained weights are as they were saved."),
    _("%(number)s tokens of %(total)s answers are those of transformers' generate.%(further)s"),
    _(" Ties: %(places)s."),
    # Jupyter
    _("No Jupyter server is configured."),
    _("Set jupyter_url in config.toml."),
    _("Jupyter at %(address)s does not answer: %(reason)s."),
    _("Start it, or correct jupyter_url in config.toml; %(further)s"),
    _("the notebook can be downloaded meanwhile."),
    _("Jupyter at %(address)s has %(number)s notebooks of the name %(name)s."),
    _("Delete some of them there."),
    _("Jupyter at %(address)s refuses to be written to (HTTP %(status)s)."),
    _("Put its token into a file, and name that as jupyter_token_file in config.toml."),
    _("What answers at %(address)s is no Jupyter server (HTTP %(status)s)."),
    _("Correct jupyter_url in config.toml."),
    _("Jupyter at %(address)s could not write the notebook (HTTP %(status)s): %(text)s"),
    _("See its log; %(further)s"),
    _("Jupyter's token cannot be read from %(path)s: %(reason)s."),
    _("Correct jupyter_token_file in config.toml."),
)

PHASE = _("%(name)s: %(about)s")
