"""Mail hosts anyone can join: two leads on one of them are not colleagues."""

from __future__ import annotations

import re

_PROVIDERS = """
    126.com 139.com 163.com 189.cn abv.bg aim.com alice.it aliceadsl.fr aliyun.com ameritech.net
    aol.com aon.at arcor.de att.net azet.sk bbox.fr bell.net bellsouth.net bigpond.com bk.ru
    bluewin.ch blueyonder.co.uk bol.com.br bredband.net btinternet.com casema.nl centrum.cz
    centrum.sk charter.net chello.at chello.nl citromail.hu club-internet.fr comcast.net cox.net
    daum.net docomo.ne.jp duck.com earthlink.net eircom.net email.com email.cz ezweb.ne.jp
    fastmail.com forthnet.gr foxmail.com free.fr freemail.hu freenet.de frontier.com gazeta.pl
    globo.com gmail.com gmx.com gmx.de gmx.net googlemail.com hanmail.net hetnet.nl hey.com
    hispeed.ch home.nl hotmail.co.uk hotmail.com hotmail.fr hushmail.com i.ua icloud.com
    ig.com.br iinet.net.au inbox.com inbox.lv inbox.ru interia.pl internet.ru juno.com
    kpnmail.nl laposte.net libero.it list.ru live.com live.com.mx luukku.com mac.com mail.com
    mail.de mail.dk mail.ee mail.ru mailbox.org mailfence.com me.com msn.com nate.com naver.com
    netvision.net.il netzero.net neuf.fr nifty.com ntlworld.com numericable.fr o2.pl ocn.ne.jp
    onet.pl online.de online.no ono.com optonline.net optusnet.com.au orange.fr otenet.gr
    outlook.com pacbell.net planet.nl pm.me post.cz posteo.de privaterelay.appleid.com proton.me
    protonmail.com proximus.be qq.com rambler.ru rediffmail.com roadrunner.com rocketmail.com
    rogers.com rr.com runbox.com sapo.pt sbcglobal.net seznam.cz sfr.fr shaw.ca sina.cn sina.com
    sky.com skynet.be softbank.ne.jp sohu.com spray.se suddenlink.net sunrise.ch sympatico.ca
    t-online.de talktalk.net tele2.nl telefonica.net telenet.be telus.net terra.com.br terra.es
    tim.it tin.it tiscali.co.uk tiscali.it tlen.pl tuta.com tuta.io tutanota.com tutanota.de
    ukr.net uol.com.br upcmail.nl usa.com verizon.net videotron.ca vip.163.com vip.qq.com
    virgilio.it virginmedia.com vodafone.de volny.cz walla.co.il walla.com wanadoo.fr web.de
    windowslive.com windstream.net wp.pl xs4all.nl xtra.co.nz ya.ru yahoo.co.in yahoo.co.uk
    yahoo.com yahoo.de yahoo.fr yandex.com yandex.ru yeah.net ymail.com ziggo.nl zoho.com
    zohomail.com
"""
# Addresses made to be thrown away: no one's company either.
_DISPOSABLE = """
    10minutemail.com 10minutemail.net 33mail.com anonaddy.me burnermail.io byom.de discard.email
    dispostable.com emailondeck.com fakeinbox.com getairmail.com getnada.com grr.la
    guerrillamail.biz guerrillamail.com guerrillamail.de guerrillamail.info guerrillamail.net
    guerrillamail.org inboxkitten.com mailcatch.com maildrop.cc mailinator.com mailinator.net
    mailnesia.com mailsac.com mintemail.com moakt.com mohmal.com mytemp.email sharklasers.com
    spam4.me spamgourmet.com temp-mail.io temp-mail.org tempail.com tempmail.com tempmail.net
    tempmailo.com throwawaymail.com trashmail.com trashmail.de trashmail.net wegwerfmail.de
    yopmail.com yopmail.fr yopmail.net
"""
FREE_MAIL = frozenset([*_PROVIDERS.split(), *_DISPOSABLE.split()])
"The hosts known by name; `is_free_mail` knows the countries of their brands besides."

# Brands with a host in nearly every country: yahoo.com.br, hotmail.it, gmx.at.
_BRAND = re.compile(
    r"(?:aol|gmx|googlemail|hotmail|live|msn|outlook|rocketmail|yahoo|yandex|ymail)"
    r"\.(?:com?\.)?[a-z]{2}"
)


def is_free_mail(domain: str) -> bool:
    """Return whether anyone can have an address at `domain`, given in lower case.

    >>> [is_free_mail(domain) for domain in ("gmail.com", "hotmail.it", "acme.example")]
    [True, True, False]
    """
    return domain in FREE_MAIL or _BRAND.fullmatch(domain) is not None
