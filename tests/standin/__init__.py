# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for a Microsoft Exchange server, as far as a mail gateway or a mail client can tell.

It is written from Exchange's published rules alone and shares nothing with the collection, so that
a rule misread on one side shows on the other. See README.md beside this file.
"""
