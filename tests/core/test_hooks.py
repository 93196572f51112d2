"""Every hook is documented, and every implementation is checked before it is registered."""

import pytest

from trainbus import Hooks, SettingsError, hookimpl
from trainbus.hooks import HOOKS, check_plugin


def plugin(source: str) -> object:
    """Return an object whose class has the body ``source``."""
    scope: dict[str, object] = {"hookimpl": hookimpl}
    exec(f"class Plugin:\n    {source}", scope)
    return scope["Plugin"]()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_sentence(hook: str) -> None:
    """The specification says of each hook when it happens."""
    assert getattr(Hooks, hook).__doc__.rstrip().endswith(".")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("@hookimpl\n    def on_epoch_ends(self): ...", "no such hook; did you mean 'on_epoch_end'?"),
        ("@hookimpl\n    def on_epoch_end(self, epochs): ...", "no argument 'epochs'; did you mean 'epoch'?"),
        ("@hookimpl\n    def on_epoch_end(self, **kw): ...", "name the arguments: run, epoch, metrics"),
        ("def on_epoch_end(self): ...", "would not be called; mark it with @trainbus.hookimpl"),
        (
            "def train(self): ...",
            "Plugin is not a callback; list callbacks of trainbus.plugins, or objects with methods",
        ),
    ],
)
def test_an_implementation_that_would_not_be_called_is_refused(source: str, sentence: str) -> None:
    """Misspelt hooks and arguments, forgotten markers and objects without hooks are refused with the fix."""
    with pytest.raises(SettingsError) as raised:
        check_plugin("Plugin", plugin(source))

    assert sentence in str(raised.value)


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_wrapper_is_refused_by_name(option: str, hook: str) -> None:
    """Pluggy's wrappers of both styles are refused for every hook; the error names the plugin and the hook."""
    source = f"@hookimpl({option}=True)\n    def {hook}(self):\n        yield"

    with pytest.raises(SettingsError) as raised:
        check_plugin("Plugin", plugin(source))
    assert str(raised.value) == (f"Plugin.{hook} is a hook wrapper, which trainbus does not call; implement the hook")


@pytest.mark.parametrize("option", ["wrapper", "hookwrapper"])
def test_a_wrapper_under_another_name_is_refused_by_its_hook(option: str) -> None:
    """A wrapper with ``specname`` is refused too, also next to a hook that is implemented plainly."""
    source = (
        f"@hookimpl({option}=True, specname='on_epoch_end')\n    def around(self):\n        yield\n"
        "    @hookimpl\n    def on_train_end(self): ..."
    )

    with pytest.raises(SettingsError, match=r"Plugin\.on_epoch_end is a hook wrapper"):
        check_plugin("Plugin", plugin(source))


def test_a_class_is_refused() -> None:
    """A plugin that was not made yet is refused."""
    with pytest.raises(SettingsError, match=r"Plugin is a class; list an object of it: Plugin\(\.\.\.\)"):
        check_plugin("Plugin", type(plugin("x = 1")))


def test_properties_of_a_plugin_are_not_evaluated() -> None:
    """Checking a plugin runs no code of the plugin."""
    source = "@property\n    def trap(self): raise RuntimeError\n    @hookimpl\n    def on_train_end(self): ..."

    check_plugin("Plugin", plugin(source))


def test_static_and_class_methods_and_defaults_are_called() -> None:
    """All kinds of methods that pluggy accepts are accepted."""
    check_plugin("Plugin", plugin("@staticmethod\n    @hookimpl\n    def on_train_end(run): ..."))
    check_plugin("Plugin", plugin("@hookimpl\n    def on_epoch_end(self, epoch, memo=None): ..."))
    check_plugin("Plugin", plugin("@hookimpl(specname='on_epoch_end')\n    def anything(self, epoch): ..."))
