"""A pretraining run that is quick on a CPU."""

TINY = [
    *("--model", "SIE", "--model.backbone.name", "test_resnet"),
    *("--model.projector_widths", "[16, 16]", "--data.batch_size", "2"),
    *("--data.num_workers", "0", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.log_every_n_steps", "1"),
]
