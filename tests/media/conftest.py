"""Fixtures for the tests of media."""

from conftest_media import sounds as sounds
