"""Tests of multieip."""
